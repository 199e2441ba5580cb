"""Counting results."""

import pathlib

import pytest

from tests.run.results import Counts, count

_GOOGLE = """<testsuites tests="4"><testsuite name="A">
  <testcase name="passes" status="run"/><testcase name="off" status="notrun"/>
  <testcase name="fails" status="run"><failure message="no"/><failure message="again"/></testcase>
</testsuite><testsuite name="B"><testcase name="passes" status="run"/></testsuite></testsuites>"""
_PYTEST = """<testsuites><testsuite name="pytest">
  <testcase name="passes"/><testcase name="breaks"><error message="no"/></testcase>
  <testcase name="skips"><skipped message="why"/></testcase>
</testsuite></testsuites>"""
_PASSED = '<testsuite><testcase name="passes"/></testsuite>'


@pytest.mark.parametrize(
    "text, status, expected",
    [
        (_GOOGLE, 1, Counts(2, 1, 1)),
        (_PYTEST, 1, Counts(1, 1, 1)),
        (_PASSED, 0, Counts(1, 0, 0)),
        (_PASSED, -11, Counts(1, 1, 0)),
        ("<testsuite/>", 0, Counts(0, 1, 0)),
        (_PASSED[:20], 0, Counts(0, 1, 0)),
    ],
    ids=["googletest", "pytest", "passes", "crashes afterwards", "empty", "cut off"],
)
def test_count(tmp_path: pathlib.Path, text: str, status: int, expected: Counts) -> None:
    (tmp_path / "results.xml").write_text(text)
    assert count(tmp_path / "results.xml", status) == expected


def test_no_file_is_a_failure(tmp_path: pathlib.Path) -> None:
    assert count(tmp_path / "missing.xml", 0) == Counts(0, 1, 0)


def test_sum() -> None:
    assert Counts(1, 2, 3) + Counts(10, 20, 30) == Counts(11, 22, 33)
