"""What is done before suites can run: each once, with a line when it begins and when it ends."""

import pathlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from tests.run import places, process

_LAST_LINES = 40


class Unprepared(Exception):
    """Something that a suite needs could not be had; standard error says why."""


class Steps:
    """Runs steps, for any number of threads."""

    def __init__(self, stop: process.Stop) -> None:
        self.stop = stop
        self._made: dict[str, Future[pathlib.Path]] = {}
        self._lock = threading.Lock()
        # Downloads are unpacked too; more at a time would only take the cores from the compiler.
        self._places = threading.Semaphore(2)

    def once(self, name: str, make: Callable[[], pathlib.Path]) -> pathlib.Path:
        """What `make` returns; it is called for the first who asks for this name, and all others
        wait for that."""
        with self._lock:
            first = name not in self._made
            future = self._made.setdefault(name, Future())
        if first:
            try:
                future.set_result(make())
            except BaseException as error:  # Also for those who wait.
                future.set_exception(error)
        return future.result()

    def run(
        self,
        text: str,
        command: Sequence[str],
        *,
        folder: pathlib.Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Runs a command, with its output in a log that is shown if it fails."""
        with self._places:
            if self.stop.asked:
                raise Unprepared(text)
            say(f"  {text} ...")
            begin = time.monotonic()
            status, log = self._logged(command, folder, variables)
            seconds = round(time.monotonic() - begin)
            if status == 0:
                say(f"  {text}: {seconds} s")
                log.unlink()
                return
            tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])
            say(f"  {text}: failed after {seconds} s:\n{tail}\n  (the whole output: {log})")
            raise Unprepared(text)

    def _logged(
        self,
        command: Sequence[str],
        folder: pathlib.Path | None,
        variables: Mapping[str, str] | None,
    ) -> tuple[int, pathlib.Path]:
        logs = places.BUILD / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="step.", dir=logs, delete=False) as file:
            log = pathlib.Path(file.name)
        status = process.run(command, log, self.stop, folder=folder, variables=variables)
        return status, log


def say(text: str) -> None:
    """A message as a whole, which no other thread cuts in two."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
