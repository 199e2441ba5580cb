"""Runs of suites made up for it: what they print, and what becomes of one that ends badly."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.run import places
from tests.run.__main__ import Misuse, choose
from tests.run.parts import Part
from tests.run.process import Stop
from tests.run.results import Counts
from tests.run.runner import Runner
from tests.run.steps import Unprepared
from tests.run.suites import SUITES, Suite
from tests.run.tools import Tools

_WRITES = 'printf "<testsuite><testcase/></testsuite>" >"$0"; '


def suite(name: str, *scripts: str, patient: bool = False, summary: str = "") -> Suite:
    """A suite of shell scripts, which write their results to $0."""

    def prepare(_: Tools) -> list[Part]:
        return [Part(("sh", "-c", script, "{xml}")) for script in scripts]

    return Suite(name, "", prepare, patient=patient, summary=summary)


@pytest.fixture(autouse=True)
def logs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Logs of their own, beside those of the suites that really run."""
    monkeypatch.setattr(places, "LOGS", tmp_path)
    return tmp_path


def run(
    capsys: pytest.CaptureFixture[str], *suites: Suite, seconds: float = 60
) -> tuple[Counts, str]:
    counts = Runner(suites, Stop(), seconds).run()
    return counts, capsys.readouterr().out


def test_a_suite_that_passes(capsys: pytest.CaptureFixture[str]) -> None:
    counts, out = run(capsys, suite("good", _WRITES))
    assert counts == Counts(1, 0, 0)
    assert out == "good           1 passed, 0 failed (0 s)\n"


def test_a_suite_that_dies_shows_the_end_of_its_log(
    capsys: pytest.CaptureFixture[str], logs: pathlib.Path
) -> None:
    counts, out = run(capsys, suite("bad", _WRITES + "seq 100; kill -SEGV $$"))
    assert counts == Counts(1, 1, 0)
    first, *tail, last = out.splitlines()
    assert first == "bad            1 passed, 1 failed (0 s)"
    assert tail == [f"    {number}" for number in range(41, 101)]
    assert last == f"    (the whole output: {logs / 'bad.log'})"


def test_failed_tests_are_named() -> None:
    """After all suites, where a reader looks first."""
    result = "<testcase classname='A' name='b'><failure message='1 is&#10;not 2'/></testcase>"
    broken = suite("broken", f'echo "<testsuite>{result}</testsuite>" > "$0"; exit 1')
    runner = Runner((broken, suite("good", _WRITES), suite("dead", "exit 1")), Stop())
    assert runner.run() == Counts(1, 2, 0)
    assert runner.failures == ["broken: A.b: 1 is not 2", "dead: no test is named, see above"]


def test_results_of_an_earlier_run_do_not_count(
    capsys: pytest.CaptureFixture[str], logs: pathlib.Path
) -> None:
    (logs / "silent.xml").write_text("<testsuite><testcase/></testsuite>")
    assert run(capsys, suite("silent", "true"))[0] == Counts(0, 1, 0)


def test_parts_are_summed_and_only_the_failing_one_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts, out = run(capsys, suite("two", _WRITES + "echo fine", "echo broken"))
    assert counts == Counts(1, 1, 0)
    assert "broken" in out and "fine" not in out


def test_the_summary_of_what_passed(capsys: pytest.CaptureFixture[str]) -> None:
    script = _WRITES + "printf 'before\\n=== differences\\nsmall\\n'"
    _, out = run(capsys, suite("live", script, summary="=* differences"))
    assert out.splitlines()[1:] == ["    === differences", "    small"]


def test_the_time_limit(capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    counts, out = run(capsys, suite("slow", _WRITES + "echo waits; exec sleep 60"), seconds=0.3)
    assert counts == Counts(1, 1, 0) and "waits" in out
    assert time.monotonic() - begin < 30


def test_what_cannot_be_prepared_fails_and_the_others_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def prepare(_: Tools) -> list[Part]:
        raise Unprepared("no network")

    counts, out = run(capsys, Suite("poor", "", prepare), suite("good", _WRITES))
    assert counts == Counts(1, 1, 0)
    assert "poor           0 passed, 1 failed (could not be prepared, see above)\n" in out


def test_a_program_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    missing = Suite("missing", "", lambda _: [Part(("/nowhere/program",))])
    counts, out = run(capsys, missing)
    assert counts == Counts(0, 1, 0) and "/nowhere/program" in out


def test_patient_suites_run_beside_the_others(
    capsys: pytest.CaptureFixture[str], logs: pathlib.Path
) -> None:
    """Each waits for the other."""
    meet = "touch {0}; while [ ! -e {1} ]; do sleep 0.05; done; " + _WRITES
    here, there = logs / "here", logs / "there"
    first = suite("first", meet.format(here, there))
    second = suite("second", meet.format(there, here) + "nice", patient=True)
    assert run(capsys, first, second, seconds=20)[0] == Counts(2, 0, 0)
    assert int((logs / "second.log").read_text()) == min(os.nice(0) + 10, 19)


def test_an_interrupt_ends_what_runs_and_skips_what_waits(
    capsys: pytest.CaptureFixture[str], logs: pathlib.Path
) -> None:
    script = (
        f"trap 'touch {logs}/ended; exit 1' INT; touch {logs}/begun; while :; do sleep 0.05; done"
    )
    stop = Stop()

    def interrupt() -> None:
        while not (logs / "begun").exists():
            time.sleep(0.05)
        stop.ask()

    threading.Thread(target=interrupt).start()
    counts = Runner((suite("runs", script), suite("waits", _WRITES)), stop).run()
    out = capsys.readouterr().out
    assert counts == Counts(0, 2, 0)
    assert (logs / "ended").exists()
    assert "runs           0 passed, 1 failed (0 s, interrupted)" in out
    assert "waits          0 passed, 1 failed (not run)" in out


def test_choose() -> None:
    names, live = [each.name for each in choose([])], ["live", "migration", "lens"]
    assert names == [each.name for each in SUITES if each.name not in live]
    assert [each.name for each in choose(["--live"])] == [*names, *live]
    assert [each.name for each in choose(["--only", "fault,unit,fault"])] == ["fault", "unit"]
    assert [each.name for each in choose(["--only", "live", "--live"])] == live


@pytest.mark.parametrize("arguments", [["--only", "unti"], ["--only"], ["--only", ","], ["unit"]])
def test_choose_refuses(arguments: list[str]) -> None:
    with pytest.raises(Misuse):
        choose(arguments)


def test_an_unknown_suite_by_the_door() -> None:
    done = subprocess.run(
        [places.SCALPEL, "test", "--only", "unti"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "--only: there is no suite 'unti'; see ./scalpel test --help\n"


_PROGRAM = """
import pathlib, sys
from tests.run import __main__, places
from tests.run.suites import Suite
from tests.run.parts import Part

folder = pathlib.Path(sys.argv[1])
script = f"trap 'exit 1' INT; touch {folder}/begun; while :; do sleep 0.05; done"
suite = Suite("endless", "", lambda _: [Part(("sh", "-c", script))])
places.LOGS, places.SCALPEL = folder, "/bin/true"
__main__.choose = lambda _: [suite]
sys.exit(__main__.test([]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_its_sum(logs: pathlib.Path, number: signal.Signals) -> None:
    command = [sys.executable, "-B", "-c", _PROGRAM, str(logs)]
    with subprocess.Popen(command, cwd=places.ROOT, stdout=subprocess.PIPE, text=True) as program:
        while not (logs / "begun").exists():
            assert program.poll() is None
            time.sleep(0.05)
        program.send_signal(number)
        out, _ = program.communicate(timeout=60)
    assert out.splitlines()[-1] == "0 passed, 1 failed"
    assert "interrupted" in out and program.returncode == 1
