"""Commands that are asked to end."""

import os
import pathlib
import time

from tests.run.process import Stop, run

# Ends by no interrupt, and has a child that does not either.
_STUBBORN = "trap '' INT; sleep 60 & echo $! >{0}; while :; do sleep 0.05; done"


def gone(pid: int) -> bool:
    """A moment after its end at the latest."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_after_its_grace_it_is_killed_with_its_children(tmp_path: pathlib.Path) -> None:
    child = tmp_path / "child"
    script = _STUBBORN.format(child)
    status = run(["sh", "-c", script], tmp_path / "log", Stop(), seconds=0.5, grace=0.2)
    assert status == -9
    assert gone(int(child.read_text()))


def test_asked_twice_it_is_killed_at_once(tmp_path: pathlib.Path) -> None:
    stop = Stop()
    stop.ask()
    stop.ask()
    begin = time.monotonic()
    script = _STUBBORN.format(tmp_path / "child")
    assert run(["sh", "-c", script], tmp_path / "log", stop) != 0
    assert time.monotonic() - begin < 30


def test_output_line_by_line() -> None:
    lines: list[str] = []
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"], lines.append, Stop()) == 3
    assert lines == ["out", "err"]
