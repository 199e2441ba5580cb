"""A run whose logits are not numbers was told as one of rank 856, top-1 agreement 0 and top token
"!"."""

import math

import pytest

from tests.support.client import site_pb2

PROMPT = "When Mary and John went to the store, John gave a drink to"
# An infinite residual stream makes every logit NaN, in HuggingFace too.
INFINITE = {
    "place": {
        "path": "resid_post",
        "where": {"layers": [4], "positions": {"indices": {"values": [-1]}}},
    },
    "set": {"constant": "Infinity"},
}
METRICS = {
    "logits": {"ids": [5]},
    "log_probs": {"ids": [5]},
    "probabilities": {"ids": [5]},
    "ranks": {"ids": [5]},
    "logit_diff": {"targets": [5], "distractors": [6]},
    "kl_from_clean": {},
    "top1_agreement": {},
    "patching_score": {"targets": [5], "distractors": [6]},
}


@pytest.fixture(scope="module")
def swept(client):
    return client.sweep(
        {
            "prompts": [{"text": PROMPT}],
            "sources": [{"text": PROMPT.replace("Mary", "Anna")}],
            "variants": {"variants": [{"interventions": [INFINITE]}, {}]},
            "metrics": [{kind: spec} for kind, spec in METRICS.items()] + [{"top_k": {"k": 3}}],
            "allow_non_finite": True,
        }
    )


@pytest.mark.parametrize("kind", METRICS)
def test_every_metric_of_a_nan_is_nan(swept, kind):
    index = list(METRICS).index(kind)
    broken, sound = (
        next(
            metric.values[0] for metric in swept.variants[variant].metrics if metric.index == index
        )
        for variant in (0, 1)
    )
    assert math.isnan(broken) and not math.isnan(sound)


def test_top_tokens_of_a_nan_are_none(swept):
    tokens = swept.variants[0].metrics[-1].tokens
    assert [(token.token_id, token.token) for token in tokens] == [(-1, "")] * 3
    assert all(math.isnan(token.logit) and math.isnan(token.log_prob) for token in tokens)


def test_a_sweep_says_where_the_first_value_arose(swept):
    assert swept.finished.non_finite_variants == 1
    assert swept.finished.first_non_finite_variant == 0
    assert where(swept.finished.first_non_finite) == ("SITE_RESID_POST", 4, 0, 13, True)


def test_a_run_says_where_the_first_value_arose(client):
    answer = client.run(
        {"prompts": [{"text": PROMPT}], "interventions": [INFINITE], "allow_non_finite": True}
    )
    assert where(answer.finished.first_non_finite) == ("SITE_RESID_POST", 4, 0, 13, True)
    assert {token.token_id for token in answer.top_logits[0].positions[0].tokens} == {-1}


def where(first):
    site = site_pb2.Site.Name(first.site)
    return site, first.layer, first.prompt, first.position, first.by_intervention
