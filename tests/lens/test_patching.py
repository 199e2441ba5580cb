"""Every function of `transformer_lens.patching`, by its name. The library runs once for each cell,
so those with many cells are asked of a model of two layers."""

import pytest

from scalpel import logit_diff, patching_score
from tests.lens import theirs

pytestmark = pytest.mark.live

_CLEAN = [" Mary John John", " John Mary Mary"]
_CORRUPTED = [" Mary John Mary", " John Mary John"]
_NAMES = (
    "resid_pre", "resid_mid", "attn_out", "mlp_out", "block_every",
    "attn_head_out_by_pos", "attn_head_q_by_pos", "attn_head_k_by_pos", "attn_head_v_by_pos",
    "attn_head_pattern_by_pos", "attn_head_pattern_dest_src_pos", "attn_head_by_pos_every",
    "attn_head_out_all_pos", "attn_head_q_all_pos", "attn_head_k_all_pos", "attn_head_v_all_pos",
    "attn_head_pattern_all_pos", "attn_head_all_pos_every",
)  # fmt: skip
# Of the whole model, which answers these in time.
_WHOLE = ("resid_pre", "attn_head_out_all_pos")


def _logit_difference(model):
    """As a user of the library writes it: the mean over two prompts."""
    mary, john = model.to_single_token(" Mary"), model.to_single_token(" John")

    def metric(logits):
        last = logits[:, -1]
        return ((last[0, mary] - last[0, john]) + (last[1, john] - last[1, mary])) / 2

    return metric


def _compare(ours, library, name, agree):
    from transformer_lens import patching as in_library

    from scalpel.lens import patching

    function = f"get_act_patch_{name}"
    clean, corrupted = library.to_tokens(_CLEAN), library.to_tokens(_CORRUPTED)
    mine = getattr(patching, function)(
        ours, corrupted, ours.run_with_cache(clean, names_filter=[])[1],
        logit_diff([" Mary", " John"], [" John", " Mary"]),
    )  # fmt: skip
    other = getattr(in_library, function)(
        library, corrupted, library.run_with_cache(clean)[1], _logit_difference(library)
    )
    agree(mine, other)
    plain = _logit_difference(library)(library(corrupted))
    assert abs(mine - plain).max() > 10 * theirs.TOLERANCE


@pytest.mark.parametrize("name", _NAMES)
def test_patching(short, agree, name):
    _compare(*short, name, agree)


@pytest.mark.parametrize("name", _WHOLE)
def test_patching_of_the_whole_model(ours, library, agree, name):
    _compare(ours, library, name, agree)


def test_all_that_the_library_has_is_compared():
    from transformer_lens import patching as in_library

    from scalpel.lens import patching

    def names(module):
        return {name for name in vars(module) if name.startswith("get_act_patch_")}

    compared, direct = {f"get_act_patch_{name}" for name in _NAMES}, "get_act_patch_direct_path"
    not_offered = {direct, f"{direct}_all_sources"} if theirs.version() >= (4,) else set()
    assert names(patching) == compared
    assert names(in_library) - compared == not_offered


def test_a_score_is_the_librarys_normalised_difference(ours, library):
    """0 as corrupted and 1 as clean, where the library's users divide by hand."""
    from transformer_lens import patching as in_library

    from scalpel.lens import patching

    clean, corrupted = (library.to_tokens(texts[0]) for texts in (_CLEAN, _CORRUPTED))
    mary, john = library.to_single_token(" Mary"), library.to_single_token(" John")

    def difference(logits):
        return logits[0, -1, mary] - logits[0, -1, john]

    low, high = difference(library(corrupted)), difference(library(clean))
    mine = patching.get_act_patch_mlp_out(
        ours, corrupted, ours.run_with_cache(clean, names_filter=[])[1],
        patching_score(" Mary", " John"),
    )  # fmt: skip
    other = in_library.get_act_patch_mlp_out(
        library, corrupted, library.run_with_cache(clean)[1],
        lambda logits: (difference(logits) - low) / (high - low),
    )  # fmt: skip
    assert theirs.difference(mine, other) <= theirs.TOLERANCE
