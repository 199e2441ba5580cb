"""A headless Chromium without network, driven through its DevTools pipe: no driver, no package."""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any

_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # Tests may run as root, where there is none.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


class Browser:
    """One page. Use it in a `with` block."""

    def __init__(self, seconds: float = 60):
        self.seconds = seconds
        self.events: list[dict] = []
        self._last_id = 0
        self._rest = b""
        self._session = ""

    def __enter__(self) -> "Browser":
        binary = shutil.which("chromium")
        assert binary, "chromium is missing; deploy/packages-test.txt has it"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        child_reads, self._write = os.pipe()
        self._read, child_writes = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        redirect = f'exec "$@" 3<&{child_reads} 4>&{child_writes}'
        command = [binary, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", *command],
            pass_fds=(child_reads, child_writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_reads)
        os.close(child_writes)
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # Which ends it.
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._read)
        self._profile.cleanup()

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=0,
            uploadThroughput=0,
        )

    def call(self, method: str, **parameters: Any) -> dict:
        """A command of the DevTools protocol; events that come meanwhile are kept."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.seconds
        while (answer := self._next(deadline)).get("id") != self._last_id:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self, deadline: float) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"the browser said nothing for {self.seconds} s"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser has ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: pathlib.Path, width: int = 1100, height: int = 900) -> None:
        """Loads a file, and waits until its figures are drawn."""
        self.resize(width, height)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete'")
        self.settle()

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def dark(self, is_dark: bool) -> None:
        value = "dark" if is_dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def settle(self) -> None:
        """Until two frames have been drawn."""
        twice = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))"
        self.evaluate(twice)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise what it comes to."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until a JavaScript expression is true."""
        deadline = time.monotonic() + self.seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.02)

    def move_to(self, element: str) -> None:
        """Points the mouse at the middle of an element, given by a JavaScript expression."""
        self.evaluate(f"({element}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settle()
        middle = self.evaluate(
            f"(() => {{ const r = ({element}).getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=middle[0], y=middle[1])
        self.settle()

    @property
    def problems(self) -> list[str]:
        """Errors and warnings on the console, uncaught exceptions, and refused loads."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed")
        found = [e for e in self.events if e["method"] in kinds]
        found += [
            e
            for e in self.events
            if e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] != "log"
        ]
        return [json.dumps(event["params"])[:2000] for event in found]

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        sent = (e for e in self.events if e["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, path: pathlib.Path, whole: bool = True) -> None:
        """A picture of the whole page, for people."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
