"""Prompts that are missing, wrong, or too many."""

import numpy as np
import pytest

from tests.fault.calls import CONFIG, assert_violation

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
N_CTX, VOCAB = CONFIG["n_positions"], CONFIG["vocab_size"]


def ids(*values):
    return {"token_ids": {"ids": list(values)}}


@pytest.mark.parametrize(
    "request_, field, word",
    [
        ({}, "prompts", "at least one"),
        ({"interventions": [{"place": {"path": "hook_k"}, "zero": {}}]}, "prompts", "at least one"),
        ({"prompts": [{}]}, "prompts[0]", "`text` or `token_ids`"),
        ({"prompts": [{"text": ""}]}, "prompts[0]", "at least one"),
        ({"prompts": [{"token_ids": {}}]}, "prompts[0]", "at least one"),
        ({"prompts": [ids(1), ids(), {"text": "a"}]}, "prompts[1]", "at least one"),
    ],
)
def test_nothing_to_run(faulty, request_, field, word):
    """empty request; no tokens; token list empty"""
    assert_violation(faulty, request_, field, word)


@pytest.mark.parametrize("token", [-1, VOCAB, INT32_MIN, INT32_MAX])
@pytest.mark.parametrize(
    "request_, field",
    [
        (lambda token: {"prompts": [ids(1, token)]}, "prompts[0].token_ids.ids[1]"),
        (
            lambda token: {"prompts": [ids(1)], "logits": {"ids": {"ids": [2, token]}}},
            "logits.ids.ids[1]",
        ),
    ],
    ids=["prompt", "logits"],
)
def test_token_outside_the_vocabulary(faulty, token, request_, field):
    """token id -1, 50257, INT32_MIN/MAX"""
    assert_violation(faulty, request_(token), field, str(token), f"[0, {VOCAB})")


@pytest.mark.parametrize("token", [-1, VOCAB, INT32_MIN, INT32_MAX])
def test_positions_of_a_token_outside_the_vocabulary(faulty, token):
    """token id -1, 50257, INT32_MIN/MAX

    No prompt can hold it.
    """
    place = {"path": "hook_k", "where": {"positions": {"tokens": {"ids": [token]}}}}
    request = {"prompts": [ids(1)], "interventions": [{"place": place, "zero": {}}]}
    assert_violation(faulty, request, "interventions[0].place.where.positions.tokens")


def test_prompt_longer_than_the_context(faulty):
    """sequence 1025; batch 0; batch x seq wraps 2^32 and 2^63

    One token too many (and as many as there may be).
    """
    assert_violation(
        faulty, {"prompts": [ids(*[1] * (N_CTX + 1))]}, "prompts[0]", str(N_CTX + 1), str(N_CTX)
    )
    assert_violation(faulty, {"prompts": [{"text": "word " * 4000}]}, "prompts[0].text")
    faulty.run({"prompts": [ids(*[1] * N_CTX)]})


def test_more_prompts_or_tokens_than_a_request_may_have(faulty):
    """sequence 1025; batch 0; batch x seq wraps 2^32 and 2^63

    The largest batches that a message can say.
    """
    limits = faulty.model().limits
    most = limits.max_prompts
    assert_violation(
        faulty, {"prompts": [ids(1)] * (most + 1)}, "prompts", str(most + 1), str(most)
    )
    assert_violation(faulty, {"prompts": [ids(1)] * 1_000_000}, "prompts", "1000000", str(most))
    rows = limits.max_tokens // N_CTX + 1
    request = {"prompts": [ids(*[1] * N_CTX)] * rows}
    assert_violation(faulty, request, "prompts", str(rows * N_CTX), str(limits.max_tokens))


def test_clean_runs_count_as_rows(faulty):
    """sequence 1025; batch 0; batch x seq wraps 2^32 and 2^63

    A batch that the clean run makes too large.
    """
    limits = faulty.model().limits
    rows = limits.max_tokens // N_CTX // 2 + 1
    request = {"prompts": [ids(*[1] * N_CTX)] * rows, "validate_only": True}
    list(faulty.events(request))
    assert_violation(faulty, {**request, "include_clean_run": True}, "prompts", "clean")


def test_prompts_of_different_length_need_no_mask(faulty):
    """ragged batch without mask; mask length differs

    Rows are never padded, so each answers as if alone.
    """
    prompts = [ids(5, 6, 7), ids(*range(100, 140)), ids(9)]
    logits = {"positions": {"range": {}}, "full": {}}
    together = faulty.run({"prompts": prompts, "logits": logits})
    for index, prompt in enumerate(prompts):
        alone = faulty.run({"prompts": [prompt], "logits": logits}).logits()
        np.testing.assert_allclose(together.logits(index), alone, atol=2e-5 * np.abs(alone).max())


@pytest.mark.parametrize(
    "patch",
    [
        {"prompt": 1},
        {"prompt": 1, "positions": {"range": {}}},
        {"clean_prompt": 1, "positions": {"indices": {"values": [0, 1]}}},
    ],
)
def test_lengths_that_do_not_match(faulty, patch):
    """ragged batch without mask; mask length differs

    A patch reads as many positions as it writes.
    """
    place = {"path": "blocks.2.hook_resid_pre", "where": {"prompts": [0]}}
    request = {
        "prompts": [ids(1, 2, 3, 4), ids(5, 6, 7)],
        "interventions": [{"place": place, "patch": patch}],
    }
    assert_violation(faulty, request, "interventions[0].patch.positions", "4", "positions")
