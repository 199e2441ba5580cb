"""`scalpel.lens` without runs: names of hook points, slices, tokens, and what it returns."""

import numpy as np
import pytest

import scalpel
from scalpel import lens
from scalpel.lens.slices import Slice
from scalpel.lens.utils import get_act_name, to_numpy
from tests.python.lens_runs import BOS, PROMPT

# ---- names of hook points ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (("k", 6, "a"), "blocks.6.attn.hook_k"),
        (("pre", 2), "blocks.2.mlp.hook_pre"),
        (("embed",), "hook_embed"),
        (("normalized", 27, "ln2"), "blocks.27.ln2.hook_normalized"),
        (("k6",), "blocks.6.attn.hook_k"),
        (("scale4ln1",), "blocks.4.ln1.hook_scale"),
        (("pre5",), "blocks.5.mlp.hook_pre"),
        (("scale",), "ln_final.hook_scale"),
        (("attn", 3), "blocks.3.attn.hook_pattern"),
        (("attn_logits", 3), "blocks.3.attn.hook_attn_scores"),
        (("key", 0), "blocks.0.attn.hook_k"),
        (("mlp_post", 1, "block"), "blocks.1.mlp.hook_post"),
        (("resid_post", 1, "block"), "blocks.1.hook_resid_post"),
        (("mlp_out3",), "hook_mlp_out3"),
        (("hook_resid_pre", 2), "blocks.2.hook_hook_resid_pre"),
        (("blocks.1.hook_resid_pre",), "blocks.1.hook_resid_pre"),
    ],
)
def test_short_names(short, full):
    """As `transformer_lens.utils.get_act_name`; tests/lens asks that itself."""
    assert get_act_name(*short) == full


def test_hook_points_are_those_of_a_gpt2_in_order(hooked):
    block = [
        "hook_resid_pre", "ln1.hook_scale", "attn.hook_q", "attn.hook_k", "attn.hook_v",
        "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z", "attn.hook_result",
        "hook_attn_out", "hook_resid_mid", "hook_mlp_in", "ln2.hook_scale", "mlp.hook_pre",
        "mlp.hook_post", "hook_mlp_out", "hook_resid_post",
    ]  # fmt: skip
    assert list(hooked.hook_dict) == [
        "hook_embed", "hook_pos_embed",
        *(f"blocks.{layer}.{name}" for layer in range(12) for name in block),
        "ln_final.hook_scale",
    ]  # fmt: skip
    assert all(hook.name == name for name, hook in hooked.hook_dict.items())
    assert hooked.hook_dict["blocks.3.attn.hook_z"].layer == 3


def test_two_hook_points_are_kept_on_request(hooked):
    def kept():
        _, cache = hooked.run_with_cache(" Mary", names_filter=lambda name: "blocks.3." in name)
        return set(cache)

    optional = {"blocks.3.attn.hook_result", "blocks.3.hook_mlp_in"}
    usual = kept()
    hooked.set_use_attn_result(True)
    hooked.set_use_hook_mlp_in(True)
    try:
        assert kept() == usual | optional and not usual & optional
    finally:
        hooked.set_use_attn_result(False)
        hooked.set_use_hook_mlp_in(False)
    assert kept() == usual


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("blocks.3.attn.hook_zz", "blocks.3.attn.hook_z"),
        ("blocks.12.hook_resid_pre", "did you mean"),
        ("blocks.3.ln1.hook_normalized", "before them; the site `ln1_out`"),
        ("blocks.3.hook_q_input", "`hook_q`"),
        ("nothing like it", "`hook_dict`"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(hooked, name, hint):
    for ask in (
        lambda: hooked.run_with_cache(PROMPT, names_filter=name),
        lambda: hooked.run_with_hooks(PROMPT, fwd_hooks=[(name, lens.zero())]),
    ):
        with pytest.raises(KeyError) as refusal:
            ask()
        assert name in str(refusal.value) and hint in str(refusal.value)


# ---- slices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "index"),
    [
        (None, np.s_[:]), (3, 3), (-1, -1), (np.int64(2), 2), ((4,), np.s_[:4]),
        ((1, 4), np.s_[1:4]), ((1, 5, 2), np.s_[1:5:2]), (slice(2, None), np.s_[2:]),
        ([4, 0], [4, 0]), (np.array([1, 1]), [1, 1]),
    ],
)  # fmt: skip
def test_slices(given, index):
    array = np.arange(60).reshape(2, 6, 5)
    assert np.array_equal(Slice(given).apply(array, dim=-2), array[:, index])
    assert np.array_equal(Slice.of(Slice(given)).apply(array, dim=1), array[:, index])
    kept = Slice.keeping_axis(given).apply(array, dim=1)
    assert np.array_equal(kept, array[:, [index]] if isinstance(index, int) else array[:, index])


@pytest.mark.parametrize("given", ["1", 1.5, [[1]], [0.5]])
def test_what_is_no_slice_is_refused(given):
    with pytest.raises((TypeError, ValueError)):
        Slice(given)


# ---- tokens --------------------------------------------------------------------------------------


def test_a_text_begins_with_bos_unless_told_otherwise(hooked, model):
    ids = list(model.tokenize(PROMPT).ids)
    assert hooked.to_tokens(PROMPT).tolist() == [[BOS, *ids]]
    assert hooked.to_tokens(PROMPT).dtype == np.int64
    assert hooked.to_tokens(PROMPT, prepend_bos=False).tolist() == [ids]
    assert hooked.to_tokens([PROMPT]).tolist() == [[BOS, *ids]]
    assert hooked.to_tokens("").tolist() == [[BOS]]
    assert hooked.to_tokens("", prepend_bos=False).shape == (1, 0)


def test_the_default_is_the_connections(server, model):
    with lens.connect(server.address, prepend_bos=False, arrays="numpy") as other:
        assert other.cfg.default_prepend_bos is False
        assert other.to_tokens(PROMPT).tolist() == [list(model.tokenize(PROMPT).ids)]
        assert other.to_tokens(PROMPT, prepend_bos=True)[0, 0] == BOS
        other.cfg.default_prepend_bos = True
        assert other.to_tokens(PROMPT)[0, 0] == BOS


def test_texts_of_other_lengths_are_filled_on_the_right(hooked):
    rows = hooked.to_tokens([" Mary", " Mary and John"], prepend_bos=False)
    assert rows.shape == (2, 3) and rows[0].tolist() == [rows[1, 0], BOS, BOS]


def test_what_is_too_long_is_cut(hooked):
    assert hooked.to_tokens(" Mary" * 300).shape == (1, 256)
    assert hooked.to_tokens(" Mary" * 300, truncate=False).shape == (1, 301)
    assert len(hooked.to_str_tokens(" Mary" * 300)) == 256


def test_str_tokens(hooked, model):
    pieces = list(model.tokenize(PROMPT).tokens)
    ids = hooked.to_tokens(PROMPT, prepend_bos=False)
    assert hooked.to_str_tokens(PROMPT) == ["<|endoftext|>", *pieces]
    assert hooked.to_str_tokens(PROMPT, prepend_bos=False) == pieces
    for row in (ids, ids[0], ids[0].tolist()):
        assert hooked.to_str_tokens(row) == pieces
    assert hooked.to_str_tokens([PROMPT, " Mary"], prepend_bos=False) == [pieces, [" Mary"]]
    assert hooked.to_str_tokens(np.array(ids[0, 1])) == [pieces[1]]
    # More than one prompt of the server's holds.
    assert hooked.to_str_tokens(np.tile(ids[0], 40)) == pieces * 40
    with pytest.raises(ValueError, match="one row"):
        hooked.to_str_tokens(np.concatenate([ids, ids]))


def test_strings_and_single_tokens(hooked):
    ids = hooked.to_tokens(PROMPT, prepend_bos=False)
    assert hooked.to_string(ids) == [PROMPT] and hooked.to_string(ids[0]) == PROMPT
    assert hooked.to_string(ids[0].tolist()) == PROMPT
    mary = hooked.to_single_token(" Mary")
    assert ids[0, 1] == mary and hooked.to_single_str_token(mary) == " Mary"
    assert hooked.to_string(mary) == " Mary"
    with pytest.raises(scalpel.InvalidArgument, match="not one token but"):
        hooked.to_single_token(PROMPT)


def test_positions_of_tokens(hooked):
    ids = hooked.to_tokens(PROMPT)
    for single in (" John", hooked.to_single_token(" John")):
        assert hooked.get_token_position(single, PROMPT) == 4
        assert hooked.get_token_position(single, ids, mode="last") == 10
        assert hooked.get_token_position(single, ids[0]) == 4
        assert hooked.get_token_position(single, PROMPT, prepend_bos=False) == 3
    for arguments, what in [
        ((" ring", PROMPT), "does not occur"),
        ((" John", PROMPT, "middle"), "mode"),
        ((" John", [PROMPT, PROMPT]), "one is meant"),
    ]:
        with pytest.raises(ValueError, match=what):
            hooked.get_token_position(*arguments)


@pytest.mark.parametrize("given", [None, 3.5, [0.5], [[[1]]], [], [PROMPT, 3], b"text"])
def test_what_is_no_input_is_refused(hooked, given):
    with pytest.raises((TypeError, ValueError)):
        hooked.forward(given)


# ---- the model, and arrays -----------------------------------------------------------------------


def test_the_configuration(hooked):
    cfg = hooked.cfg
    assert (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head, cfg.d_mlp) == (12, 12, 96, 8, 384)
    assert (cfg.n_ctx, cfg.d_vocab, cfg.d_vocab_out) == (256, 2048, 2048)
    assert (cfg.act_fn, cfg.normalization_type, cfg.model_name) == ("gelu_new", "LN", "demo-model")
    assert "demo-model at 127.0.0.1" in repr(hooked)


def test_a_model_is_found_by_its_name(server):
    load = lens.HookedTransformer.from_pretrained_no_processing
    with load("demo-model", address=server.address, arrays="numpy") as found:
        assert found.cfg.d_model == 96 and found.cfg.default_prepend_bos
    with pytest.raises(scalpel.NotFound):
        load("gpt2", address=server.address)


def test_the_kind_of_arrays_is_chosen_by_what_is_installed(server, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with lens.connect(server.address) as connected:
        assert isinstance(connected.to_tokens("a"), np.ndarray)
    with pytest.raises(ValueError, match="neither 'torch' nor 'numpy'"):
        lens.connect(server.address, arrays="jax")


def test_utils_go_by_both_names():
    """As versions 2 and 3 of the library call them."""
    from scalpel.lens import utilities

    assert lens.utilities is utilities and lens.utils.get_act_name is utilities.get_act_name
    assert lens.utils.__all__ == utilities.__all__


def test_lists_of_numbers_become_arrays():
    assert to_numpy([1, 2]).tolist() == [1, 2] and to_numpy(3).shape == ()
