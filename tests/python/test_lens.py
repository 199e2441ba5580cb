"""`scalpel.lens` against the client that it is built on, bit for bit, and the weights in the file.

tests/lens compares it with TransformerLens itself.
"""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import scalpel
from scalpel import lens
from tests.fault import model_folders
from tests.python.lens_runs import OTHER, PROMPT, plain_logits

# Hook points of each block that run_with_cache does not keep unless it is told to.
ON_REQUEST = ("attn.hook_result", "hook_mlp_in")


@pytest.fixture(scope="module")
def rows(hooked):
    """Two prompts of 15 tokens."""
    return hooked.to_tokens([PROMPT, OTHER])


@pytest.fixture(scope="module")
def cached(hooked, rows):
    """Logits and cache of both prompts."""
    return hooked.run_with_cache(rows)


# ---- logits and loss -----------------------------------------------------------------------------


def test_logits_are_those_of_the_client(hooked, model, rows, cached):
    expected = plain_logits(model, rows)
    assert expected.shape == (2, 15, 2048)
    for logits in (hooked(rows), hooked.forward([PROMPT, OTHER]), cached[0], hooked(rows.tolist())):
        assert np.array_equal(logits, expected)
    assert np.array_equal(hooked(PROMPT), expected[:1])
    assert np.array_equal(hooked(rows[1]), expected[1:])
    without = plain_logits(model, rows[:1, 1:])
    assert np.array_equal(hooked(PROMPT, prepend_bos=False), without)


def test_filling_is_not_seen(hooked):
    short = " Mary and John"
    both = hooked([short, PROMPT])
    assert np.array_equal(both[0, :4], hooked(short)[0])


def test_loss(hooked, model, rows):
    sweep = model.sweep([row.tolist() for row in rows], variants=[[]], metrics=scalpel.loss())
    of_each = [sweep.clean(prompt=i) for i in range(2)]
    loss = hooked(rows, return_type="loss")
    assert loss.dtype == np.float32 and loss == pytest.approx(np.mean(of_each), abs=1e-6)
    per_token = hooked(rows, return_type="loss", loss_per_token=True)
    assert per_token.shape == (2, 14) and per_token.mean(axis=1) == pytest.approx(of_each, abs=1e-6)
    both = hooked(rows, return_type="both")
    assert np.array_equal(both.logits, hooked(rows)) and both.loss == loss
    assert hooked.loss_fn(both.logits, rows) == loss
    assert hooked(rows, return_type=None) is None
    with pytest.raises(ValueError, match="return_type"):
        hooked(rows, return_type="losses")


# ---- caches --------------------------------------------------------------------------------------


def test_every_hook_point_has_its_sites_values(hooked, model, rows, cached):
    _, cache = cached
    sites = [site for site in model.info.sites.values() if any("hook_" in a for a in site.aliases)]
    prompts = [row.tolist() for row in rows]
    run = model.run(prompts, capture=[s.name for s in sites], logits="none")
    compared = 0
    for name, array in cache.items():
        hook = hooked.hooks_of_model.find(name)
        for i in range(2):
            expected = run.capture(hook.site, layer=hook.layer, prompt=i)
            assert np.array_equal(array[i], expected), name
            compared += 1
    kept_on_request = {f"blocks.{i}.{name}" for i in range(12) for name in ON_REQUEST}
    assert list(cache) == [name for name in hooked.hook_dict if name not in kept_on_request]
    assert compared == 2 * len(cache) == 2 * (len(hooked.hook_dict) - 24)


def test_keys_of_a_cache(hooked, cached):
    _, cache = cached
    pattern = cache["blocks.3.attn.hook_pattern"]
    assert pattern.shape == (2, 12, 15, 15)
    for key in (("pattern", 3), ("pattern", -9), ("attn", 3), "pattern3", ("pattern", 3, "attn")):
        assert cache[key] is pattern
    assert cache["embed"] is cache["hook_embed"] is cache["embed",]
    assert cache["scale"] is cache["ln_final.hook_scale"]
    assert cache["scale", 4, "ln2"] is cache["blocks.4.ln2.hook_scale"]
    assert cache["mlp_out", 0].shape == (2, 15, 96) and cache["z", 0].shape == (2, 15, 12, 8)
    assert "hook_embed" in cache and "embed" not in cache
    assert len(cache) == len(cache.keys()) == len(cache.values()) == len(list(cache)) == 183
    assert repr(cache).startswith("ActivationCache with keys ['hook_embed', ")
    with pytest.raises(KeyError, match="not kept by run_with_cache"):
        cache["result", 3]
    with pytest.raises(KeyError, match="no hook point"):
        cache["nothing", 3]


@pytest.mark.parametrize(
    "names_filter",
    [
        "blocks.2.attn.hook_z",
        ["blocks.2.attn.hook_z"],
        lambda name: name.startswith("blocks.2.") and name.endswith("hook_z"),
    ],
)
def test_names_filter(hooked, cached, names_filter):
    _, some = hooked.run_with_cache([PROMPT, OTHER], names_filter=names_filter)
    assert list(some) == ["blocks.2.attn.hook_z"]
    assert np.array_equal(some["z", 2], cached[1]["z", 2])


def test_what_else_run_with_cache_takes(hooked, rows, cached):
    names = ["blocks.1.attn.hook_q", "blocks.1.attn.hook_pattern", "blocks.1.hook_attn_out"]
    loss, kept = hooked.run_with_cache(
        rows[:1], return_type="loss", names_filter=names, remove_batch_dim=True, pos_slice=-1,
        return_cache_object=False,
    )  # fmt: skip
    assert loss == hooked(rows[:1], return_type="loss")
    full = cached[1]
    assert type(kept) is dict and list(kept) == names
    assert np.array_equal(kept[names[0]], full["q", 1][0, -1:])
    assert np.array_equal(kept[names[1]], full["pattern", 1][0, :, -1:])
    assert np.array_equal(kept[names[2]], full["attn_out", 1][0, -1:])
    nothing, cache = hooked.run_with_cache(rows, return_type=None, names_filter=[])
    assert nothing is None and len(cache) == 0 and np.array_equal(cache.tokens, rows)
    with pytest.raises(ValueError, match="there are 2 prompts"):
        hooked.run_with_cache(rows, remove_batch_dim=True)


def test_the_batch_is_taken_away(hooked, rows, cached):
    _, one = hooked.run_with_cache(rows[:1])
    assert one.remove_batch_dim() is one and not one.has_batch_dim
    assert np.array_equal(one["z", 2], cached[1]["z", 2][0])
    assert one.remove_batch_dim()["z", 2].shape == (15, 12, 8)
    with pytest.raises(ValueError, match="batch of 2"):
        cached[1].remove_batch_dim()


def test_results_of_heads_come_on_request(hooked, rows, cached):
    name = "blocks.11.attn.hook_result"
    _, asked = hooked.run_with_cache(rows, names_filter=name)
    assert list(asked) == [name] and asked[name].shape == (2, 15, 12, 96)
    edit = [("blocks.0.attn.hook_z", lens.zero(head=8))]
    with hooked.hooks(edit):
        _, expected = hooked.run_with_cache(rows[:1], names_filter=name)
        _, late = hooked.run_with_cache(
            rows[:1], names_filter=[], pos_slice=(2, 5), remove_batch_dim=True
        )
    late.compute_head_results()
    assert np.array_equal(late["result", -1], expected[name][0, 2:5])
    assert abs(expected[name][0] - asked[name][0]).max() > 1e-3
    before = late["result", -1]
    late.compute_head_results()
    assert late["result", -1] is before


# ---- the residual stream's parts -----------------------------------------------------------------


def test_parts_sum_to_the_stream(hooked, cached):
    _, cache = cached
    stack, labels = cache.decompose_resid(return_labels=True)
    assert labels[:4] == ["embed", "pos_embed", "0_attn_out", "0_mlp_out"] and len(labels) == 26
    assert stack.sum(axis=0) == pytest.approx(cache["resid_post", -1], abs=1e-4)
    middle = cache.decompose_resid(5, mlp_input=True)
    assert middle.sum(axis=0) == pytest.approx(cache["resid_mid", 5], abs=1e-4)
    heads, labels = cache.stack_head_results(5, return_labels=True, incl_remainder=True)
    assert labels[13] == "L1H1" and labels[-1] == "remainder" and len(labels) == 61
    assert heads.sum(axis=0) == pytest.approx(cache["resid_post", 4], abs=1e-4)
    assert np.array_equal(heads[13], cache["result", 1][..., 1, :])
    assert np.array_equal(cache.stack_activation("z", 3)[2], cache["z", 2])
    assert cache.stack_activation("z").shape == (12, 2, 15, 12, 8)
    only = cache.stack_head_results(0, incl_remainder=True)
    assert np.array_equal(only[0], cache["resid_pre", 0])


def test_the_stream_before_each_layer(cached):
    _, cache = cached
    stack, labels = cache.accumulated_resid(2, incl_mid=True, mlp_input=True, return_labels=True)
    assert labels == ["0_pre", "0_mid", "1_pre", "1_mid", "2_pre", "2_mid"]
    assert np.array_equal(stack[-1], cache["resid_mid", 2])
    stack, labels = cache.accumulated_resid(return_labels=True, pos_slice=-1)
    assert labels[-2:] == ["11_pre", "final_post"]
    assert stack.shape == (13, 2, 96)
    assert np.array_equal(stack[-1], cache["resid_post", 11][:, -1])


@pytest.mark.parametrize("ask", ["decompose_resid", "accumulated_resid", "stack_head_results"])
def test_a_layer_that_there_is_not_is_refused(cached, ask):
    with pytest.raises(ValueError, match=r"outside \[0, 12\]"):
        getattr(cached[1], ask)(13)
    with pytest.raises(ValueError, match=r"outside \[0, 12\]"):
        getattr(cached[1], ask)(-2)


def test_stacks_of_nothing_are_refused(cached):
    for ask in (
        lambda: cached[1].decompose_resid(0, incl_embeds=False),
        lambda: cached[1].stack_head_results(0),
        lambda: cached[1].decompose_resid(mode="none"),
    ):
        with pytest.raises(ValueError, match=r"layer 0|mode"):
            ask()


def test_attributions_sum_to_the_difference_of_logits(hooked, model_dir, cached):
    logits, cache = cached
    mary, john = (hooked.to_single_token(name) for name in (" Mary", " John"))
    stack = cache.decompose_resid(pos_slice=-1)
    by_name = cache.logit_attrs(stack, " Mary", " John", pos_slice=-1, fold_ln=True)
    by_id = cache.logit_attrs(
        stack, np.array([mary, mary]), np.array([john, john]), pos_slice=-1, fold_ln=True
    )
    assert by_name.shape == (26, 2) and np.array_equal(by_name, by_id)
    file = load_file(model_dir / "model.safetensors")
    prefix = "transformer." if "transformer.ln_f.bias" in file else ""
    direction = file[f"{prefix}wte.weight"][mary] - file[f"{prefix}wte.weight"][john]
    of_bias = direction @ file[f"{prefix}ln_f.bias"]
    expected = logits[:, -1, mary] - logits[:, -1, john] - of_bias
    assert by_name.sum(axis=0) == pytest.approx(expected, abs=1e-4)
    # Without the gain they sum to something else.
    plain = cache.logit_attrs(stack, mary, john, pos_slice=-1)
    assert abs(plain.sum(axis=0) - expected).max() > 0.1
    with pytest.raises(ValueError, match="incorrect_tokens: shape"):
        cache.logit_attrs(stack, np.array([mary, mary]), john)


def test_the_logit_lens(hooked, model, cached):
    """Each layer's stream through the model's own final LayerNorm, as `ln_f_in` does it."""
    _, cache = cached
    lensed = cache.accumulated_resid(apply_ln=True, recompute_ln=True)
    written = scalpel.set_("ln_f_in", cache["resid_pre", 7][0])
    run = model.run([cache.tokens[0].tolist()], written, capture="ln_f_out", logits="none")
    assert lensed[7, 0] == pytest.approx(run.capture("ln_f_out"), abs=1e-5)
    own_scale = cache.accumulated_resid(apply_ln=True)
    assert abs(own_scale - lensed).max() > 0.1
    middle = cache.apply_ln_to_stack(cache.decompose_resid(5), 5, batch_slice=1)
    assert middle.shape == (12, 15, 96)
    normal = middle.sum(axis=0).std(axis=-1)
    assert normal == pytest.approx(np.ones(15), abs=1e-3)


# ---- weights -------------------------------------------------------------------------------------


def test_directions_are_the_columns_of_the_unembedding(hooked, model_dir):
    file = load_file(model_dir / "model.safetensors")
    prefix = "transformer." if "transformer.ln_f.bias" in file else ""
    wte = file[f"{prefix}wte.weight"]
    ids = np.array([[856, 3], [2047, 3]])
    directions = hooked.tokens_to_residual_directions(ids)
    assert directions.shape == (2, 2, 96) and np.array_equal(directions, wte[ids])
    mary = hooked.to_single_token(" Mary")
    for token in (" Mary", mary, np.array([mary])):
        assert np.array_equal(hooked.tokens_to_residual_directions(token), wte[mary])
    gain, bias = hooked.final_norm()
    assert np.array_equal(bias, file[f"{prefix}ln_f.bias"])
    assert gain == pytest.approx(file[f"{prefix}ln_f.weight"], rel=1e-6, abs=1e-6)
    with pytest.raises(TypeError, match="ids"):
        hooked.tokens_to_residual_directions(np.array([0.5]))


def test_weights_of_an_odd_width_beyond_the_context_and_of_a_head_of_its_own(
    tmp_path, start_server
):
    config = {
        **model_folders.CONFIG, "n_embd": 15, "n_head": 3, "n_positions": 4,
        "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = {**model_folders.shapes(config), "lm_head.weight": [20, 15]}
    file = model_folders.safetensors(*model_folders.header_and_data(shapes))
    folder = model_folders.write(tmp_path / "odd", config=json.dumps(config).encode(), file=file)
    stored = load_file(folder / "model.safetensors")
    server = start_server(model=folder)
    with lens.connect(server.address, arrays="numpy") as odd:
        for ask in (lambda: odd.to_str_tokens([3]), lambda: odd.to_tokens("text")):
            with pytest.raises(scalpel.FailedPrecondition):
                ask()
        assert odd([[3, 1, 4]]).shape == (1, 3, 20)
        directions = odd.tokens_to_residual_directions(np.arange(20))
        assert np.array_equal(directions, stored["lm_head.weight"])
        assert not np.array_equal(directions, stored["wte.weight"])
        gain, bias = odd.final_norm()
        assert np.array_equal(bias, stored["ln_f.bias"])
        assert gain == pytest.approx(stored["ln_f.weight"], rel=1e-6)
