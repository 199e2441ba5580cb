"""`scalpel.lens.patching`: each cell is the run that it says, whatever the server's limits."""

import inspect

import numpy as np
import pytest

from scalpel import lens, logit_diff, patching_score, prob
from scalpel.lens import patching
from tests.python.lens_runs import OTHER, PROMPT

METRIC = logit_diff([" Mary", " John"], [" John", " Mary"])
# Function, hook point, axes, and what selects a cell of them.
FUNCTIONS = {
    "get_act_patch_resid_pre": ("resid_pre", ("layer", "position")),
    "get_act_patch_resid_mid": ("resid_mid", ("layer", "position")),
    "get_act_patch_attn_out": ("attn_out", ("layer", "position")),
    "get_act_patch_mlp_out": ("mlp_out", ("layer", "position")),
    "get_act_patch_attn_head_out_by_pos": ("z", ("layer", "position", "head")),
    "get_act_patch_attn_head_q_by_pos": ("q", ("layer", "position", "head")),
    "get_act_patch_attn_head_k_by_pos": ("k", ("layer", "position", "head")),
    "get_act_patch_attn_head_v_by_pos": ("v", ("layer", "position", "head")),
    "get_act_patch_attn_head_pattern_by_pos": ("pattern", ("layer", "head", "query")),
    "get_act_patch_attn_head_pattern_dest_src_pos": ("pattern", ("layer", "head", "query", "key")),
    "get_act_patch_attn_head_out_all_pos": ("z", ("layer", "head")),
    "get_act_patch_attn_head_q_all_pos": ("q", ("layer", "head")),
    "get_act_patch_attn_head_k_all_pos": ("k", ("layer", "head")),
    "get_act_patch_attn_head_v_all_pos": ("v", ("layer", "head")),
    "get_act_patch_attn_head_pattern_all_pos": ("pattern", ("layer", "head")),
}
LENGTHS = {"layer": 12, "head": 12, "position": 6, "query": 6, "key": 6}
# Prompts of 6 tokens, whose last is told by the name.
CORRUPTED = [" Mary met John, Mary", " John met Mary, John"]
CLEAN = [" Mary met John, John", " John met Mary, Mary"]


@pytest.fixture(scope="module")
def pair(hooked):
    """The corrupted tokens, and a cache of the clean ones that holds nothing."""
    return hooked.to_tokens(CORRUPTED), hooked.run_with_cache(CLEAN, names_filter=[])[1]


def measured(hooked, logits):
    """METRIC of a batch, from logits."""
    mary, john = hooked.to_single_token(" Mary"), hooked.to_single_token(" John")
    last = logits[:, -1].astype(np.float64)
    return np.mean([last[0, mary] - last[0, john], last[1, john] - last[1, mary]])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_cells_are_runs_with_a_patch(hooked, pair, name):
    corrupted, cache = pair
    site, axes = FUNCTIONS[name]
    answer = getattr(patching, name)(hooked, corrupted, cache, METRIC)
    assert answer.shape == tuple(LENGTHS[axis] for axis in axes) and answer.dtype == np.float32
    rng = np.random.default_rng(len(name))
    plain = measured(hooked, hooked(corrupted))
    furthest = np.unravel_index(abs(answer - plain).argmax(), answer.shape)
    assert abs(answer[furthest] - plain) > 1e-3
    for cell in (furthest, *(tuple(rng.integers(answer.shape)) for _ in range(4))):
        layer, *others = map(int, cell)
        where = dict(zip(axes[1:], others, strict=True))
        expected = plain
        if where.get("key", 0) <= where.get("query", 0) or "key" not in where:
            edit = lens.patch(cache, **where)
            full = lens.utils.get_act_name(site, layer)
            expected = measured(hooked, hooked.run_with_hooks(corrupted, fwd_hooks=[(full, edit)]))
        assert answer[cell] == pytest.approx(expected, abs=1e-5), cell


def test_every_is_a_stack(hooked, pair):
    for every, parts in {
        "block_every": ("resid_pre", "attn_out", "mlp_out"),
        "attn_head_all_pos_every": tuple(
            f"attn_head_{part}_all_pos" for part in ("out", "q", "k", "v", "pattern")
        ),
        "attn_head_by_pos_every": tuple(
            f"attn_head_{part}_by_pos" for part in ("out", "q", "k", "v", "pattern")
        ),
    }.items():
        stack = getattr(patching, f"get_act_patch_{every}")(hooked, *pair, METRIC)
        assert len(stack) == len(parts)
        for one, part in zip(stack, parts, strict=True):
            expected = getattr(patching, f"get_act_patch_{part}")(hooked, *pair, METRIC)
            if part.endswith("pattern_by_pos"):
                expected = expected.transpose(0, 2, 1)
            assert np.array_equal(one, expected), part


def test_a_grid_beyond_the_servers_limit_is_asked_for_in_parts(hooked, start_server, model_dir):
    small = start_server("--max-variants", "80", model=model_dir)
    texts = [" Mary John", " John Mary"]
    with lens.connect(small.address, arrays="numpy") as narrow:
        for name in ("resid_pre", "attn_head_out_by_pos", "attn_head_pattern_dest_src_pos"):
            whole, parts = (
                getattr(patching, f"get_act_patch_{name}")(
                    one, texts, one.run_with_cache(texts[::-1], names_filter=[])[1], METRIC
                )
                for one in (hooked, narrow)
            )
            assert np.array_equal(whole, parts), name
            moved = abs(whole - measured(hooked, hooked(texts))) > 1e-4
            assert moved.reshape(12, -1).any(axis=1).all(), name  # In each layer, so in each part.


def test_other_metrics(hooked):
    cache = hooked.run_with_cache(PROMPT, names_filter=[])[1]
    scores = patching.get_act_patch_resid_pre(
        hooked, OTHER, cache, patching_score(" Mary", " John")
    )
    assert scores.shape == (12, 15) and scores[0, 10] == pytest.approx(1, abs=1e-4)
    assert scores[0, 1] == pytest.approx(0, abs=1e-4)
    named = patching.get_act_patch_resid_pre(hooked, OTHER, cache, prob(" Mary", name="mine"))
    assert 0.9 < named[0, 10] <= 1


def test_what_cannot_be_asked_is_refused(hooked, pair):
    corrupted, cache = pair
    ask = patching.get_act_patch_resid_pre
    with pytest.raises(TypeError, match=r"a Python function cannot be .* logit_diff"):
        ask(hooked, corrupted, cache, lambda logits: logits.mean())
    with pytest.raises(TypeError, match="clean_cache"):
        ask(hooked, corrupted, {}, METRIC)
    with pytest.raises(ValueError, match=r"shape \[2, 4\], and the clean tokens have \[2, 6\]"):
        ask(hooked, corrupted[:, :4], cache, METRIC)
    with pytest.raises(ValueError, match="is not one number"):
        ask(hooked, corrupted, cache, prob(" Mary", " John"))
    with hooked.hooks([("hook_embed", lens.zero())]):
        _, edited = hooked.run_with_cache(CLEAN, names_filter=[])
    with pytest.raises(ValueError, match="made under edits"):
        ask(hooked, corrupted, edited, METRIC)


def test_every_function_is_tried_here():
    public = {
        name for name, value in vars(patching).items()
        if name.startswith("get_act_patch") and inspect.isfunction(value)
    }  # fmt: skip
    assert public == FUNCTIONS.keys() | {
        f"get_act_patch_{every}"
        for every in ("block_every", "attn_head_all_pos_every", "attn_head_by_pos_every")
    }
    for name in public:
        function = getattr(patching, name)
        assert function.__name__ == name and function.__doc__
