"""Requests at the edge of what may be asked: they are answered, and right.

Those beyond the edge are among the refusals (test_refusals.py).
"""

import math

import numpy as np
import pytest

from tests.fault.refusals.case import INT64_MAX, RESID
from tests.fault.refusals.operands import INF, NAN, NUMBERS, with_operation
from tests.fault.refusals.prompts import N_CTX, ids
from tests.fault.refusals.selections import COLUMNS
from tests.support.client import Client


@pytest.mark.parametrize("number", [NAN, INF, 1e-40])
@pytest.mark.parametrize("field", ["scale.factor", "add.constant", "set.constant", "noise.mean"])
def test_non_finite_numbers_run_where_they_are_meant(
    faulty: Client, field: str, number: float
) -> None:
    """Admitted by allow_non_finite, and shown as they are."""
    after = {"name": "after", "statistics": ["STATISTIC_ABS_MAX"], "place": RESID}
    request = with_operation(NUMBERS[field](number), allow_non_finite=True, probes=[after])
    seen = float(faulty.run(request).statistic("after", "abs_max", layer=3))
    assert math.isfinite(seen) == math.isfinite(number)


def test_a_step_beyond_the_axis_selects_its_start(faulty: Client) -> None:
    """Start + step wraps, and is harmless."""
    range_ = {"start": str(COLUMNS - 1), "step": str(INT64_MAX)}
    where = {"layers": [5], "units": {"range": range_}}
    intervention = {"place": {"site": "SITE_QKV", "where": where}, "zero": {}}
    result = faulty.run({"prompts": [ids(1, 2, 3, 4)], "interventions": [intervention]})
    assert result.reports[0].elements_selected == len(result.tokens[0])


def test_a_prompt_as_long_as_the_context(faulty: Client) -> None:
    assert len(faulty.run({"prompts": [ids(*[1] * N_CTX)]}).tokens[0]) == N_CTX


def test_a_text_as_long_as_the_limit(faulty: Client) -> None:
    most = faulty.model().limits.max_text_bytes
    assert len(faulty.tokenize("a " * (most // 2))) >= most // 2


def test_prompts_of_different_length_need_no_mask(faulty: Client) -> None:
    """Rows are never padded, so each answers as if alone."""
    prompts = [ids(5, 6, 7), ids(*range(100, 140)), ids(9)]
    logits = {"positions": {"range": {}}, "full": {}}
    together = faulty.run({"prompts": prompts, "logits": logits})
    for index, prompt in enumerate(prompts):
        alone = faulty.run({"prompts": [prompt], "logits": logits}).logits()
        np.testing.assert_allclose(together.logits(index), alone, atol=2e-5 * np.abs(alone).max())
