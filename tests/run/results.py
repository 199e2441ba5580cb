"""Counts the results that GoogleTest, pytest and the lint suite write as JUnit XML, and names the
failures."""

import dataclasses
import itertools
import pathlib
import xml.etree.ElementTree as ElementTree

# Of the beginning of what a failed test said, in characters.
_SAID_MAX = 200


@dataclasses.dataclass(frozen=True)
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )


def count(xml: pathlib.Path, status: int) -> Counts:
    """What a command that ended with `status` left in its file. A crash after the results, a file
    that is not there or broken, and a file without any test are failures too."""
    counts = _read(xml)
    if counts.failed == 0 and (status != 0 or counts.passed == 0):
        return dataclasses.replace(counts, failed=1)
    return counts


def failures(xml: pathlib.Path) -> list[str]:
    """A line for each test that failed: its name and the beginning of what it said."""
    return [
        f"{case.get('classname', '')}.{case.get('name', '')}: {_beginning(case)}"
        for case in _cases(xml)
        if _failed(case)
    ]


def _cases(xml: pathlib.Path) -> list[ElementTree.Element]:
    try:
        return list(ElementTree.parse(xml).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []


def _beginning(case: ElementTree.Element) -> str:
    said = itertools.chain(case.iter("failure"), case.iter("error"))
    text = " ".join((next(said).get("message") or "").split())
    return text if len(text) <= _SAID_MAX else text[:_SAID_MAX] + "..."


def _read(xml: pathlib.Path) -> Counts:
    cases = _cases(xml)
    failed = sum(map(_failed, cases))
    skipped = sum(_has(case, "skipped") or case.get("status") == "notrun" for case in cases)
    return Counts(len(cases) - failed - skipped, failed, skipped)


def _failed(case: ElementTree.Element) -> bool:
    return _has(case, "failure") or _has(case, "error")


def _has(case: ElementTree.Element, tag: str) -> bool:
    return case.find(tag) is not None
