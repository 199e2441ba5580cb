"""Counts the results that GoogleTest, pytest and the lint suite write as JUnit XML."""

import dataclasses
import pathlib
import xml.etree.ElementTree as ElementTree


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


def _read(xml: pathlib.Path) -> Counts:
    try:
        cases = list(ElementTree.parse(xml).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return Counts()
    failed = sum(_has(case, "failure") or _has(case, "error") for case in cases)
    skipped = sum(_has(case, "skipped") or case.get("status") == "notrun" for case in cases)
    return Counts(len(cases) - failed - skipped, failed, skipped)


def _has(case: ElementTree.Element, tag: str) -> bool:
    return case.find(tag) is not None
