"""The table of checks. One more is one more line: a name, a command, the folder that it runs in."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable

from tests.lint import sources

Command = Callable[[], list[str]]


@dataclasses.dataclass(frozen=True)
class Check:
    name: str
    command: Command
    folder: str = "."


def _wheel(program: str) -> str:
    """A program of tests/requirements-lint.txt."""
    return str(pathlib.Path(os.environ["SCALPEL_LINT"]) / program)


def _own(module: str, *arguments: str) -> Command:
    """A check that is a module beside this one."""
    return lambda: [sys.executable, "-B", "-m", f"tests.lint.{module}", *arguments]


CHECKS = (
    Check("buf lint", lambda: [os.environ["SCALPEL_BUF"], "lint"], folder="proto"),
    Check("shellcheck", lambda: ["shellcheck", *sources.of("bash")]),
    Check(
        "clang-format",
        lambda: [_wheel("clang-format"), "--dry-run", "-Werror", *sources.of("C++")],
    ),
    Check("length of files", _own("lengths", "files")),
    Check("length of functions", _own("lengths", "functions")),
    Check("thread safety", _own("threads")),
)
