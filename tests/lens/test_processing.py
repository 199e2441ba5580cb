"""What `from_pretrained` gives otherwise: it folds LayerNorm and value biases, and centres weights.

The documentation says which of a served model's numbers differ from those, and which are the same.
"""

import pytest

from tests.lens import theirs

pytestmark = pytest.mark.live

_TEXT = theirs.notebook().CLEAN


@pytest.fixture(scope="module")
def mine(ours):
    """Logits and cache."""
    ours.set_use_attn_result(True)
    yield ours.run_with_cache(_TEXT)
    ours.set_use_attn_result(False)


@pytest.fixture(scope="module")
def processed(model_dir):
    """The library's model as `from_pretrained` leaves it."""
    import torch

    with torch.no_grad():
        model = theirs.load(model_dir, processing=True)
        model.set_use_attn_result(True)
        return model, *model.run_with_cache(_TEXT)


def _centred(tensor, axis=-1):
    return tensor - tensor.mean(axis, keepdim=True)


def _differs(mine, other):
    return theirs.difference(mine, other) > 10 * theirs.TOLERANCE


def test_logits_differ_by_one_number_at_each_position(mine, processed, agree):
    _, logits, _ = processed
    assert _differs(mine[0], logits)
    agree(_centred(mine[0]), _centred(logits))
    agree(mine[0].log_softmax(-1), logits.log_softmax(-1))


@pytest.mark.parametrize("name", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_the_stream_differs_by_its_mean(mine, processed, agree, name):
    ours, theirs_ = mine[1][name, 6], processed[2][name, 6]
    assert _differs(ours, theirs_)
    agree(_centred(ours), _centred(theirs_))


def test_the_embedding_differs_by_its_mean(mine, processed, agree):
    for name in ("embed", "pos_embed"):
        assert _differs(mine[1][name], processed[2][name])
        agree(_centred(mine[1][name]), _centred(processed[2][name]))


@pytest.mark.parametrize(
    "key", [("q", 6), ("k", 6), ("attn_scores", 6), ("pattern", 6), ("pre", 6), ("post", 6),
            ("scale", 6, "ln1"), ("scale", 6, "ln2"), ("scale",)],
)  # fmt: skip
def test_what_is_the_same(mine, processed, agree, key):
    agree(mine[1][key], processed[2][key])


def test_values_and_z_differ_by_the_bias_of_values(mine, processed, agree):
    cache = processed[2]
    for name in ("v", "z"):
        difference = mine[1][name, 6] - cache[name, 6]
        assert abs(difference).max() > 10 * theirs.TOLERANCE
        agree(difference, difference[:, :1].expand_as(difference))  # One vector a head.
    assert _differs(mine[1]["result", 6], cache["result", 6])


def test_attributions_of_differences_are_the_same_with_the_gain(mine, processed, agree):
    cache = processed[2]
    ours, other = (one.decompose_resid(pos_slice=-1) for one in (mine[1], cache))
    folded = mine[1].logit_attrs(ours, " Mary", " John", pos_slice=-1, fold_ln=True)
    expected = cache.logit_attrs(other, " Mary", " John", pos_slice=-1)
    agree(folded, expected)
    assert _differs(mine[1].logit_attrs(ours, " Mary", " John", pos_slice=-1), expected)
