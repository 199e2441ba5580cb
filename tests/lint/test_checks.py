"""The checks find what they look for, and the suite says which one failed."""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from tests.lint import lengths, sources, threads
from tests.lint.__main__ import run
from tests.lint.checks import CHECKS, Check


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A repository of its own, still empty."""
    for name in ("scalpel", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path


def write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_only_our_sources(tree: pathlib.Path) -> None:
    for name in ("a.cc", "a.txt", "target/b.cc", "node_modules/c.h", ".venv/d.h", "a_pb2.py"):
        write(tree / "server" / name, "")
    write(tree / "proto/google/rpc/status.proto", "")
    write(tree / "proto/scalpel/v1/spec.proto", "")
    assert sources.of("C++", "Python", "proto", "bash") == [
        ".ci/run",
        "proto/scalpel/v1/spec.proto",
        "scalpel",
        "server/a.cc",
    ]


def test_long_files(tree: pathlib.Path) -> None:
    write(tree / "server/long.cc", "\n" * 401)
    write(tree / "server/short.cc", "\n" * 400)
    assert lengths.long_files() == ["server/long.cc: 401 lines, 400 at most"]


def test_long_functions(tree: pathlib.Path) -> None:
    for name, lines in (("long", 69), ("short", 68)):
        write(tree / f"server/{name}.cc", "\nvoid F() {\n" + "  Do();\n" * lines + "}\n")
    assert lengths.long_functions() == ["server/long.cc:2: F: 71 lines, 70 at most"]


def test_what_uses_a_mutex(tree: pathlib.Path) -> None:
    write(tree / "server/own.cc", "absl::MutexLock lock(&mutex);\n")
    write(tree / "server/by_header.cc", '#include "server/by_header.h"\n')
    write(tree / "server/by_header.h", "int x ABSL_GUARDED_BY(mutex_);\n")
    write(tree / "server/none.cc", "int x;\n")
    assert threads.files() == ["server/by_header.cc", "server/own.cc"]


def test_a_check_that_fails_is_shown_by_its_name(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def says(text: str, status: int) -> Check:
        return Check(text, lambda: [sys.executable, "-c", f"print('{text}'); exit({status})"])

    missing = Check("missing", lambda: ["/nowhere/program"])
    xml = tmp_path / "lint.xml"
    assert run([says("good", 0), says("bad", 1), missing], xml) == 1
    out = capsys.readouterr().out
    assert out.startswith("--- bad\nbad\n--- missing\nit could not be run: ") and "good" not in out
    cases = ElementTree.parse(xml).getroot()
    assert [(case.get("name"), len(case)) for case in cases] == [
        ("good", 0),
        ("bad", 1),
        ("missing", 1),
    ]
    assert run([says("good", 0)], xml) == 0


def test_checks_have_names_of_their_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
