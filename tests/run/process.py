"""Runs one command: with a log, a time limit, and an end that leaves nothing behind."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

# How long a command may take to end what it started, once it is interrupted.
GRACE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_NOT_FOUND = 127  # As in a shell.


class Stop:
    """Asks all commands to end: asked once it interrupts them, asked twice it kills them."""

    def __init__(self) -> None:
        self._interrupt, self._kill = threading.Event(), threading.Event()

    def ask(self) -> None:
        if self._interrupt.is_set():
            self._kill.set()
        self._interrupt.set()

    @property
    def asked(self) -> bool:
        return self._interrupt.is_set()

    @property
    def at_once(self) -> bool:
        return self._kill.is_set()


def run(
    command: Sequence[str],
    output: pathlib.Path | Callable[[str], None],
    stop: Stop,
    *,
    seconds: float = float("inf"),
    grace: float = GRACE_SECONDS,
    folder: pathlib.Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> int:
    """The exit status of a command, 127 where there is no such program. Its output goes to a log,
    or line by line to a function. After `seconds`, or when asked to stop, it is interrupted, by
    SIGINT so that pytest still ends the servers that it started; `grace` seconds later it is killed
    with all its processes."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(output.open("wb")) if isinstance(output, pathlib.Path) else None
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=log or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group, so that it can be killed whole. Not a session: Linux gives each session
                # the same share of the CPU, however low the priority of its processes.
                process_group=0,
            )
        except OSError as error:
            if log:
                log.write(f"{error}\n".encode())
            return _NOT_FOUND
        if not isinstance(output, pathlib.Path):
            reader = threading.Thread(target=_pass_on, args=(process, output))
            reader.start()
            stack.callback(reader.join)
        return _wait(process, stop, time.monotonic() + seconds, grace)


def _pass_on(process: subprocess.Popen[bytes], to: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            to(line.decode("utf-8", "replace").rstrip("\n"))


def _wait(process: subprocess.Popen[bytes], stop: Stop, limit: float, grace: float) -> int:
    kill_at: float | None = None
    while True:
        try:
            status = process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        else:
            if kill_at is not None:
                _kill_group(process.pid)  # What it left behind.
            return status
        now = time.monotonic()
        if kill_at is None:
            if stop.asked or now >= limit:
                process.send_signal(signal.SIGINT)
                kill_at = now + grace
        elif stop.at_once or now >= kill_at:
            _kill_group(process.pid)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
