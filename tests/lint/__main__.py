"""`python3 -m tests.lint XML`: runs all checks, shows what those that fail print, and writes the
results as JUnit XML, where each check is one test."""

import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from tests.lint import sources
from tests.lint.checks import CHECKS, Check


def run(checks: Sequence[Check], xml: pathlib.Path) -> int:
    """The exit status: 1 if a check failed."""
    suite = ElementTree.Element("testsuite", name="lint")
    failed = 0
    for check in checks:
        begin = time.monotonic()
        problem = _problem(check)
        seconds = f"{time.monotonic() - begin:.3f}"
        case = ElementTree.SubElement(suite, "testcase", name=check.name, time=seconds)
        if problem is not None:
            failed = 1
            ElementTree.SubElement(case, "failure", message="failed")
            print(f"--- {check.name}\n{problem.rstrip()}", flush=True)
    ElementTree.ElementTree(suite).write(xml)
    return failed


def _problem(check: Check) -> str | None:
    """What a check that failed printed."""
    folder = sources.ROOT / check.folder
    try:
        done = subprocess.run(
            check.command(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except (OSError, KeyError) as error:
        return f"it could not be run: {error!r}"
    return done.stdout.decode("utf-8", "replace") if done.returncode else None


if __name__ == "__main__":
    sys.exit(run(CHECKS, pathlib.Path(sys.argv[1])))
