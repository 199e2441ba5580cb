"""A scalpel-server process for tests: started on a free port, its log in a file, never left
behind."""

import atexit
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import types
import weakref
from typing import Any

import grpc

from tests.support import environment
from tests.support.channel import open_channel

_LISTENING = re.compile(r"listening on (?:\S*@)?127\.0\.0\.1:(\d+)")
_running: "weakref.WeakSet[Server]" = weakref.WeakSet()


class StartError(RuntimeError):
    """The server did not come up; the message ends with its log."""


class Server:
    """One server process.

    `with Server("--max-queue", "1") as server:` runs until the block ends, then drains by SIGTERM.
    Standard output and error go to `log_path`, together. `runner` is a command that runs it, such
    as valgrind with its options; `credentials` are for its health to be asked by TLS.
    """

    def __init__(
        self,
        *flags: str,
        model: pathlib.Path | None = None,
        env: dict[str, str] | None = None,
        start_seconds: float = 120,
        runner: list[str] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ):
        self.model = pathlib.Path(model or environment.model_dir())
        self.flags = list(flags)
        self.env = environment.of_servers(env)
        self.start_seconds = start_seconds
        self.runner = runner or []
        self.credentials = credentials
        self.port = 0
        handle, name = tempfile.mkstemp(
            prefix="server-", suffix=".log", dir=environment.scratch_dir()
        )
        os.close(handle)
        self.log_path = pathlib.Path(name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once it was launched."""
        assert self._process is not None, "the server was not launched"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def launch(self) -> "Server":
        """Starts the process and waits for nothing."""
        command = [
            *self.runner,
            str(environment.server_binary()),
            "--model",
            str(self.model),
            "--listen",
            "127.0.0.1:0",
            *self.flags,
        ]
        with open(self.log_path, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.env,
            )
        _running.add(self)
        return self

    def start(self) -> "Server":
        """Returns when the health service says SERVING."""
        self.launch()
        try:
            deadline = time.monotonic() + self.start_seconds
            self._wait_for_port(deadline)
            self._wait_for_health(deadline)
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_for_port(self, deadline: float) -> None:
        while not (found := _LISTENING.search(self.log())):
            if self.process.poll() is not None:
                raise StartError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"no 'listening on' line after {self.start_seconds} s:\n{self.log()}"
                )
            time.sleep(0.02)
        self.port = int(found.group(1))

    def _wait_for_health(self, deadline: float) -> None:
        while not is_serving(self.address, credentials=self.credentials):
            if self.process.poll() is not None:
                raise StartError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise StartError(f"not SERVING after {self.start_seconds} s:\n{self.log()}")
            time.sleep(0.05)

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 40) -> int:
        """Drains; returns the exit status. Kills what has not ended after `seconds`, and then
        raises."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the server had not drained {seconds} s after signal {signum}:\n{self.log()}"
            ) from None

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()


def run_server(
    *flags: str, env: dict[str, str] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess:
    """Runs the server's program with flags that make it end by itself."""
    return subprocess.run(
        [str(environment.server_binary()), *flags],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment.of_servers(env),
        check=False,
    )


def is_serving(
    address: str, service: str = "", credentials: grpc.ChannelCredentials | None = None
) -> bool:
    """grpc.health.v1.Health.Check, by hand: its messages are one string and one enum, so no package
    is needed for it."""
    request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    with open_channel(address, credentials=credentials) as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer: bytes = check(request, timeout=5)
            return answer == b"\x08\x01"  # status: SERVING
        except grpc.RpcError:
            return False


@atexit.register
def _kill_all() -> None:
    for server in list(_running):
        server.kill()
