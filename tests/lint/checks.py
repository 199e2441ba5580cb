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


def _mypy() -> list[str]:
    """Of what the tests are built on. The client's types are checked by tests/python."""
    cache = str(sources.ROOT / "build" / "mypy-cache")
    return [_wheel("mypy"), "--cache-dir", cache, "--config-file", "tests/mypy.ini"]


_RUFF = ("--config", "tests/ruff.toml", "client", "deploy", "tests")

CHECKS = (
    Check("buf lint", lambda: [os.environ["SCALPEL_BUF"], "lint"], folder="proto"),
    Check("shellcheck", lambda: ["shellcheck", *sources.of("bash")]),
    Check(
        "clang-format",
        lambda: [_wheel("clang-format"), "--dry-run", "-Werror", *sources.of("C++")],
    ),
    Check("ruff", lambda: [_wheel("ruff"), "check", "--no-cache", *_RUFF]),
    Check("ruff format", lambda: [_wheel("ruff"), "format", "--no-cache", "--check", *_RUFF]),
    Check("mypy of the tests' base", _mypy),
    Check("length of files", _own("lengths", "files")),
    Check("length of functions", _own("lengths", "functions")),
    Check("thread safety", _own("threads")),
)
