"""A notebook, run on both: nothing differs but what `lens` is."""

import types

import pytest

from tests.lens import theirs

pytestmark = pytest.mark.live

PAGES = theirs.notebook().PAGES

# Hook points that a version of the library has alone, or has elsewhere than another.
_OF_SOME_VERSION = ("hook_normalized", "hook_in", "hook_out", "hook_hidden_states", "hook_unembed")
_NOT_OFFERED = {"hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_page_of_the_notebook(ours, library, agree, page):
    from scalpel import lens

    mine, other = page(ours, lens), page(library, types.SimpleNamespace(utils=theirs.utilities()))
    shared = [name for name in other if not name.endswith(_OF_SOME_VERSION)]
    # Version 4 has an order of its own.
    assert list(mine) == shared or (theirs.version() >= (4,) and set(mine) == set(shared))
    assert len(mine) > 2
    for name in shared:
        print(name)  # Shown where it is the one that differs.
        if hasattr(other[name], "detach"):
            agree(mine[name], other[name])
        else:
            assert mine[name] == other[name] and type(mine[name]) is type(other[name])


def test_the_logit_lens(ours, library, agree):
    """Version 3 recomputes the final LayerNorm where `apply_ln` is said alone; version 2 has the
    run's own scale."""
    text = theirs.notebook().CLEAN
    mine, other = ours.run_with_cache(text)[1], library.run_with_cache(text)[1]
    recomputed = theirs.version() >= (3,)
    agree(
        mine.accumulated_resid(apply_ln=True, recompute_ln=recomputed),
        other.accumulated_resid(apply_ln=True),
    )
    last = library.ln_final(other["resid_post", -1])
    agree(mine.accumulated_resid(apply_ln=True, recompute_ln=True)[-1], last)


def test_short_names_are_theirs():
    from scalpel.lens.utils import get_act_name

    names = ("k", "attn", "attn_logits", "mlp_post", "pre5", "scale4ln1", "scale", "resid_mid",
             "rot_k", "pre_linear", "embed", "mlp_out3", "hook_z", "q2a", "post1m")  # fmt: skip
    asked = [
        (name, layer, part)
        for name in names
        for layer in (None, 3, 11)
        for part in (None, "a", "m", "b", "ln1", "ln2", "mlp", "attn", "blocks")
    ]
    assert [get_act_name(*one) for one in asked] == [
        theirs.utilities().get_act_name(*one) for one in asked
    ]


def test_slices_are_theirs():
    import torch

    from scalpel.lens.utils import Slice

    array = torch.arange(60).reshape(2, 6, 5)
    for given in (None, 3, -1, (4,), (1, 5, 2), slice(2, 4), [4, 0], torch.tensor([1, 1])):
        for dim in (1, -2):
            mine = Slice(given).apply(array.numpy(), dim)
            assert mine.tolist() == theirs.utilities().Slice(given).apply(array, dim).tolist()


def test_what_is_not_offered_is_what_the_documentation_names(library, ours):
    theirs_alone = set(library.hook_dict) - set(ours.hook_dict)
    of_every_version = {name for name in theirs_alone if not name.endswith(_OF_SOME_VERSION)}
    assert {name.rpartition(".")[2] for name in of_every_version} == _NOT_OFFERED
    assert set(ours.hook_dict) <= set(library.hook_dict)
