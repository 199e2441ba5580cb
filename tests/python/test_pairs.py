"""The pairs of prompts that `patch` takes: what is wrong with them, and what need not match."""

import functools

import numpy as np
import pytest

import scalpel
from scalpel import operations, patching, spread
from tests.python.raw import OTHER, PROMPT, name_difference
from tests.python.test_aio import with_model

LONGER = "When Mary and John went to the old store, Mary gave a drink to"


def patch(clean, corrupted, **options):
    return patching.patch(clean, corrupted, **{"answer": " Mary", "wrong": " John", **options})


@pytest.mark.parametrize("options, said", [
    ({"clean": []}, "clean: no prompt; give one"),
    ({"corrupted": []}, "corrupted: no prompt; give one"),
    ({"corrupted": ["a", "b"]}, "corrupted: as many prompts as clean.* 2, and 1 of clean"),
    ({"answer": []}, "answer: no token; give the one that is right on the clean"),
    ({"wrong": ""}, "wrong: no token; give the one that is right on the corrupted"),
    ({"answer": np.array([], int)}, "answer: no token"),
    ({"over": []}, "over: nothing to go over; write an axis"),
    ({"layer": []}, "layer: the list is empty"),
    ({"position": 0, "head": []}, "head: the list is empty"),
])  # fmt: skip
def test_an_empty_argument_of_patch_says_what_to_do(options, said):
    with pytest.raises(ValueError, match=said):
        patch(**{"clean": "a", "corrupted": "b", **options})


def test_a_patch_of_no_heads_does_not_become_all():
    with pytest.raises(ValueError, match="from_head: the list is empty"):
        operations.patch("z", from_clean=0, from_head=[])


def test_errors_of_a_patch_name_an_argument(model):
    """Also those of what no argument alone says."""
    cases = [
        ({"answer": " no such token"}, "answer"),
        ({"layer": 12, "over": "positions"}, "layer"),
        ({"site": "head_result"}, "site"),
        ({"answer_position": 99}, "answer_position"),
        ({"over": ["layers", "layers"]}, "over[1]"),
    ]
    for options, argument in cases:
        with pytest.raises(scalpel.InvalidArgument) as raised:
            model.patch(PROMPT, OTHER, **{"answer": " Mary", "wrong": " John", **options})
        found = [violation.argument for violation in raised.value.violations]
        assert argument in found and all(found), (options, found)


@pytest.mark.parametrize("options", [
    {},
    {"over": "positions", "layer": 3},
    {"over": "layers"},
    {"over": "layers", "position": slice(1, None)},
    {"over": "layers", "position": scalpel.tokens(292)},
    {"direction": "noising"},
], ids=str)  # fmt: skip
def test_pairs_of_different_length_are_refused_before_anything_runs(model, server, options):
    if "position" in options and isinstance(options["position"], scalpel.tokens):
        options = {**options, "position": scalpel.tokens(model.token_id(" old"))}
        counts = "clean has 1 such positions in 15 tokens|corrupted has 0 such positions"
    else:
        counts = "clean has .*15 tokens.*corrupted has .*14 tokens|corrupted .*14 .*clean .*15"
    before = model.status().engine.tokens
    with pytest.raises(ValueError, match=counts) as raised:
        model.patch(LONGER, OTHER, answer=" Mary", wrong=" John", **options)
    assert not isinstance(raised.value, scalpel.ScalpelError)
    assert model.status().engine.tokens == before
    ids = [model.tokenize(text).ids for text in (LONGER, OTHER)]
    with pytest.raises(ValueError, match=counts):  # Without a server.
        patch(*ids, **options)


def test_the_pair_that_does_not_match_is_named(model):
    with pytest.raises(ValueError, match=r"of pair 1 has 14 tokens, .* of pair 1 has 15"):
        model.patch([PROMPT, LONGER], [OTHER, OTHER], answer=" Mary", wrong=" John", over="layers")


def test_spread_and_asyncio_check_pairs_too(server):
    options = {"answer": " Mary", "wrong": " John", "over": "layers"}
    with spread.connect([server.address]) as replicas:
        with pytest.raises(ValueError, match="14 tokens"):
            replicas.patch(LONGER, OTHER, **options)
    with pytest.raises(ValueError, match="14 tokens"):
        with_model(server.address, lambda m: m.patch(LONGER, OTHER, **options))


def test_positions_that_both_have_need_no_equal_length(model):
    """The last position of either: as a run that says both."""
    result = model.patch(LONGER, OTHER, answer=" Mary", wrong=" John", over="layers", position=-1)
    difference = functools.partial(name_difference, model)
    clean, corrupted = difference([LONGER]), difference([OTHER])
    for layer in (0, 9):
        swap = operations.patch("resid_pre", from_clean=1, layer=layer, position=13, prompt=0,
                                from_position=14)  # fmt: skip
        expected = (difference([OTHER, LONGER], swap) - corrupted) / (clean - corrupted)
        assert result.score[layer] == pytest.approx(expected, abs=1e-9)
