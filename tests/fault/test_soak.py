"""Everything at once, for a while: callers of all roles, good and bad calls, cancels, deadlines,
slow readers, lost connections, tokens that come and go. Every answer has the bytes of the idle
server's, and afterwards the server is what it was.

SCALPEL_SOAK_SECONDS makes it longer; `./scalpel soak` is the same with more clients.
"""

import collections
import dataclasses
import os
import pathlib
from xml.etree import ElementTree

import grpc
import pytest

from tests.soak.acts import SEEN
from tests.soak.callers import Met
from tests.soak.report import draw, table
from tests.soak.samples import Sample, growth, quantile
from tests.soak.soak import soak
from tests.soak.verdict import Rest, Soaked, judge

SECONDS = float(os.environ.get("SCALPEL_SOAK_SECONDS", "30"))
CLIENTS = 12


def test_soak(tmp_path: pathlib.Path) -> None:
    """The server survives all of the above together, and keeps nothing of it."""
    findings = judge(soak(SECONDS, CLIENTS, tmp_path, print))
    wrong = [f"{each.what}: {each.seen}, not {each.bound}" for each in findings if not each.good]
    assert not wrong, "\n".join(wrong)


# ---- the verdict -------------------------------------------------------------------------------


def good() -> Soaked:
    """A soak with nothing to find."""
    counts = collections.Counter(dict.fromkeys(SEEN, 3))
    samples = [
        Sample(float(second), 200 << 20, 30, 40, 2, 1, 0.001, 0.004) for second in range(600)
    ]
    rest = Rest(180 << 20, 10, 20)
    return Soaked(600.0, 64, Met(counts), samples, [0.001] * 999, rest, rest, "")


def leaking(mib: int) -> list[Sample]:
    """Memory that rises evenly by so much, with a saw's teeth on it."""
    return [
        dataclasses.replace(
            sample, rss=sample.rss + (int(mib * at / 600) << 20) + (at % 7) * (8 << 20)
        )
        for at, sample in enumerate(good().samples)
    ]


def unseen() -> Met:
    met = good().met
    del met.counts["cancel", grpc.StatusCode.CANCELLED]
    return met


BAD = {
    "answers with other bytes": {"met": Met(good().met.counts, differed=["run 3"])},
    "answers compared": {"met": Met()},
    "calls that ended as none may": {"met": Met(good().met.counts, wrong=["run: INTERNAL"])},
    "kinds of ends that never came": {"met": unseen()},
    "growth of memory under load": {"samples": leaking(mib=120)},
    "memory at rest": {"after": Rest(300 << 20, 10, 20)},
    "descriptors at rest": {"after": Rest(180 << 20, 11, 20)},
    "threads at rest": {"after": Rest(180 << 20, 10, 29)},
    "p99 of small calls": {"small_calls": [0.001] * 97 + [0.3] * 3},
    "server in the end": {"fault": "the golden answer differs"},
}


def test_a_good_soak_has_no_finding() -> None:
    findings = judge(good())
    assert all(finding.good for finding in findings)
    assert [finding.what for finding in findings] == list(BAD)


@pytest.mark.parametrize("what", BAD)
def test_the_verdict_finds(what: str) -> None:
    findings = judge(dataclasses.replace(good(), **BAD[what]))
    assert what in [finding.what for finding in findings if not finding.good]


def test_growth_is_of_the_line_and_not_of_the_teeth() -> None:
    assert growth(leaking(mib=120)) / (1 << 20) == pytest.approx(120, abs=4)
    assert growth(leaking(mib=0)) / (1 << 20) == pytest.approx(0, abs=4)


def test_quantiles() -> None:
    assert quantile(range(100), 0.5) == 50
    assert quantile(range(100), 0.99) == 99
    assert quantile([7], 0.99) == 7


def test_the_plot_has_a_line_for_each_series(tmp_path: pathlib.Path) -> None:
    draw(good(), tmp_path / "soak.svg")
    lines = ElementTree.parse(tmp_path / "soak.svg").findall(".//{*}polyline")
    assert len(lines) == 7
    assert all(len(line.get("points").split()) == 600 for line in lines)


def test_the_table_has_every_act_and_finding() -> None:
    said = table(good(), judge(good()))
    assert all(act in said for act, _ in SEEN) and all(what in said for what in BAD)
    assert "WRONG" not in said
