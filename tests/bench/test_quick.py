"""The benchmark at a small size: that everybody who is installed agrees with HuggingFace. It times
nothing."""

import dataclasses

import pytest

pytest.importorskip("transformers")

from tests.bench import report, results, suite, workloads
from tests.bench.measure import Entry, Rounds
from tests.bench.peers.hooks import Hooks
from tests.bench.questions import Edit, Question

pytestmark = pytest.mark.live


@pytest.mark.parametrize("workload", suite.WORKLOADS)
def test_all_agree(quick_run, workload):
    assert "transformers" in quick_run["peers"]
    rows = [row for row in quick_run["rows"] if row["workload"] == workload]
    assert rows
    for row in rows:
        assert row["counts"] and all(cell["counts"] for cell in row["cells"]), report.terminal(row)


class Forgetful(Hooks):
    """Answers every question as if nothing were edited."""

    def ask(self, question: Question, wants: str, sources: dict):
        return super().ask(dataclasses.replace(question, edit=None), wants, sources)


def _row(model_dir, factor: float) -> dict:
    """One that answers and one that does not, about a block scaled by a factor."""
    reference = Hooks("reference", "idiom", model_dir, "eager")
    forgetful = Forgetful("forgetful", "other", model_dir)
    edit = Edit("scale", "resid_post", 9, factor=factor)
    case = workloads.Case("W1", "scale", "top", lambda rng: [Question((5, 6, 7), edit)])
    rounds = Rounds(reference.shape, reference, None)
    return results.row_data(rounds.measure(case, [Entry(reference), Entry(forgetful)], 0))


def test_a_wrong_answer_does_not_count(model_dir):
    row = _row(model_dir, factor=0.1)
    assert row["counts"]
    assert [cell["counts"] for cell in row["cells"]] == [True, False]
    assert "disagrees" in report.terminal(row)


def test_an_edit_that_moves_nothing_does_not_count(model_dir):
    row = _row(model_dir, factor=1.0)
    assert not row["counts"]
    assert "does not count" in report.terminal(row)
