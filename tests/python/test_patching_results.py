"""What comes back of activation patching."""

import functools

import numpy as np
import pytest

import scalpel
from scalpel import patch, prob
from tests.python.raw import OTHER, PROMPT, name_difference

N_LAYER, T = 12, 14


def test_denoising_and_noising_agree_on_what_0_and_1_mean(model):
    """Everything patched is the other prompt; nothing patched is the prompt itself."""
    pair = {"answer": " Mary", "wrong": " John", "over": ["layers", "positions"]}
    denoised = model.patch(PROMPT, OTHER, **pair)
    noised = model.patch(PROMPT, OTHER, **pair, direction="noising")
    subject = 9
    assert denoised.score.shape == (N_LAYER, T)
    np.testing.assert_allclose(denoised.score[0, subject], 1)
    np.testing.assert_array_equal(denoised.score[:, :subject], 0)
    np.testing.assert_allclose(noised.score[0, subject], 0, atol=1e-12)
    np.testing.assert_array_equal(noised.score[:, :subject], 1)
    assert denoised.to_xarray().dims == ("prompt", "layer", "position")


def test_the_score_is_the_literatures(model):
    """(d - d_corrupted) / (d_clean - d_corrupted), with d of three runs."""
    result = model.patch(PROMPT, OTHER, "z", answer=" Mary", wrong=" John", over=["layers"], head=6)
    difference = functools.partial(name_difference, model)
    clean, corrupted = difference([PROMPT]), difference([OTHER])
    for layer in (0, 9):
        swap = patch("z", from_clean=1, layer=layer, head=6, prompt=0)
        patched = difference([OTHER, PROMPT], swap)
        expected = (patched - corrupted) / (clean - corrupted)
        assert result.score[layer] == pytest.approx(expected, abs=1e-9)


def test_several_pairs(model):
    others = ("When Tom and Jane went to the store, Jane gave a drink to",
              "When Tom and Jane went to the store, Tom gave a drink to")  # fmt: skip
    result = model.patch([PROMPT, others[0]], [OTHER, others[1]], answer=[" Mary", " Tom"],
                         wrong=[" John", " Jane"], over="layers", position=-1)  # fmt: skip
    assert result.scores.shape == (2, N_LAYER)
    np.testing.assert_array_equal(result.score, result.scores.mean(axis=0))
    for i, (clean, corrupted) in enumerate(((PROMPT, OTHER), others)):
        names = [(" Mary", " John"), (" Tom", " Jane")][i]
        alone = model.patch(clean, corrupted, answer=names[0], wrong=names[1], over="layers",
                            position=-1)  # fmt: skip
        np.testing.assert_array_equal(alone.score, result.scores[i])


def test_further_metrics_beside_the_score(model):
    result = model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", over="layers",
                         metrics=prob(" Mary", name="p"), stats={"resid_post": "std"})  # fmt: skip
    assert result.metrics == ("score", "p") and result.array("p").shape == (N_LAYER,)
    assert result.stat("resid_post", "std").shape == (N_LAYER, N_LAYER)


def test_a_table_has_the_same_scores(model):
    """Of the score alone: other metrics are as they came."""
    result = model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", over="layers", position=9,
                         direction="noising", metrics=prob(" Mary", name="p"))  # fmt: skip
    table = result.to_pandas().set_index(["metric", "layer"])["value"]
    np.testing.assert_array_equal(table["score"], result.score)
    np.testing.assert_array_equal(table["p"], result["p"])


def test_pairs_are_pairs():
    with pytest.raises(ValueError, match="corrupted: as many"):
        scalpel.patching.patch([PROMPT], [OTHER, OTHER], answer=" Mary", wrong=" John")
    with pytest.raises(TypeError, match="prompt: every pair"):
        scalpel.patching.patch(["a"] * 2, ["b"] * 2, answer=" a", wrong=" b", prompt=0)
    with pytest.raises(ValueError, match="direction: 'both'"):
        scalpel.patching.patch(PROMPT, OTHER, answer=" a", wrong=" b", direction="both")
