"""`python3 -m tests.run test|bench|soak|venv ARGUMENT...`, to which ./scalpel hands on."""

import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from tests.run import places
from tests.run.bench import bench
from tests.run.process import Stop
from tests.run.runner import Runner
from tests.run.soak import soak
from tests.run.steps import Steps, Unprepared, say
from tests.run.suites import BY_NAME, SUITES, Suite
from tests.run.venv import venv


class Misuse(Exception):
    """An argument that is not understood."""


def usage() -> str:
    said = [
        "usage: ./scalpel test [--live] [--only SUITE[,SUITE...]]",
        "",
        "Builds everything and runs these suites, side by side where none disturbs another:",
    ]
    for suite in SUITES:
        first, *others = suite.help.split("\n")
        said += [f"  {suite.name:<10} {first}", *(f"{'':13}{line}" for line in others)]
    said += [
        "",
        "Long output goes to build/test-logs. The last line is the sum; the exit status is not 0",
        "if anything failed or could not run.",
    ]
    return "\n".join(said)


def choose(arguments: Sequence[str]) -> list[Suite]:
    """The suites that the arguments ask for; raises Misuse."""
    suites = [suite for suite in SUITES if not suite.live]
    rest = list(arguments)
    while rest:
        match rest.pop(0):
            case "--live":
                suites += [suite for suite in SUITES if suite.live and suite not in suites]
            case "--only":
                names = [name for name in rest.pop(0).split(",") if name] if rest else []
                if not names:
                    raise Misuse("--only: needs a list of suites")
                suites = [_suite(name) for name in dict.fromkeys(names)]
            case other:
                raise Misuse(f"test: unknown argument '{other}'")
    return suites


def _suite(name: str) -> Suite:
    if name not in BY_NAME:
        raise Misuse(f"--only: there is no suite '{name}'")
    return BY_NAME[name]


def test(arguments: Sequence[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(usage())
        return 0
    try:
        suites = choose(arguments)
    except Misuse as error:
        say(f"{error}; see ./scalpel test --help")
        return 2
    lists = dict.fromkeys(name for suite in suites for name in suite.packages)
    prepare = [places.SCALPEL, "prepare", "cpu", "build", "test", *lists]
    if status := subprocess.run(prepare, check=False).returncode:
        return status
    stop = Stop()
    # Also where a shell's background ignores Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.ask())
    runner = Runner(suites, stop)
    counts = runner.run()
    for failure in runner.failures:
        print(f"failed: {failure}")
    print(f"{counts.passed} passed, {counts.failed} failed")
    return 1 if counts.failed else 0


def make_venv(name: str, *requirements: str) -> int:
    """Prints the folder of a virtual environment."""
    try:
        print(venv(Steps(Stop()), name, [pathlib.Path(path) for path in requirements]))
    except Unprepared:
        return 1
    return 0


def main() -> int:
    command, *arguments = sys.argv[1:]
    if command == "venv":
        return make_venv(*arguments)
    return {"bench": bench, "soak": soak, "test": test}[command](arguments)


if __name__ == "__main__":
    sys.exit(main())
