"""What the fuzz suite says of programs made up for it."""

import base64
import pathlib
import xml.etree.ElementTree as ElementTree

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz.seeds import SEEDS
from tests.run import places
from tests.run.results import Counts, count, failures

_PASSES = "echo 'stat::number_of_executed_units: 1234'"
# Writes an input where libFuzzer would, and ends as it does.
_FAILS = """
for each; do case "$each" in -artifact_prefix=*) prefix=${each#*=} ;; esac; done
printf '%b' 'INPUT' >"${prefix}crash-1"
echo 'x.cc:7: does not hold: a == b'; echo 'stat::number_of_executed_units: 9'; exit 77
"""


@pytest.fixture
def programs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(fuzz, "_PROGRAMS", tmp_path)
    monkeypatch.setattr(fuzz, "_FOUND", tmp_path / "found")
    return tmp_path


def run(programs: pathlib.Path, script: str) -> tuple[Counts, pathlib.Path]:
    program, xml = programs / "text_fuzz", programs / "results.xml"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return count(xml, fuzz.run(["text"], xml, "1")), xml


def test_each_target_has_seeds_and_each_seed_a_target() -> None:
    targets = {path.name for path in (places.ROOT / "tests" / "fuzz").glob("*_fuzz.cc")}
    assert targets == {f"{name}_fuzz.cc" for name in SEEDS}
    for seeds in SEEDS.values():
        assert list(seeds())


def test_each_regression_is_of_a_target() -> None:
    folders = (places.ROOT / "tests" / "fuzz" / "regressions").iterdir()
    assert {each.name for each in folders} <= SEEDS.keys()


def test_a_target_that_holds(programs: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, _ = run(programs, _PASSES)
    assert counts == Counts(1, 0, 0)
    assert "1,234 inputs" in capsys.readouterr().out


def test_a_target_that_ran_nothing_is_a_failure(programs: pathlib.Path) -> None:
    assert run(programs, "exit 0")[0] == Counts(0, 1, 0)


@pytest.mark.parametrize("data", [b"plain text", b"\xff\x00"])
def test_a_failure_shows_its_input_and_how_to_run_it(
    programs: pathlib.Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    octal = "".join(f"\\0{byte:o}" for byte in data)
    counts, xml = run(programs, _FAILS.replace("INPUT", octal))
    assert counts == Counts(0, 1, 0)
    out = capsys.readouterr().out
    assert (data.decode() if data.isascii() else base64.b64encode(data).decode()) in out
    failed = programs / "found" / "text" / "failed" / "crash-1"
    assert failed.read_bytes() == data
    assert f"{programs / 'text_fuzz'} {failed}" in out
    assert failures(xml) == [".text: x.cc:7: does not hold: a == b"]
    (case,) = ElementTree.parse(xml).iter("testcase")
    assert case.get("name") == "text"


def test_what_failed_before_is_not_shown_again(
    programs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(programs, _FAILS.replace("INPUT", "old"))
    capsys.readouterr()
    assert run(programs, _PASSES)[0] == Counts(1, 0, 0)
    assert "crash-1" not in capsys.readouterr().out
