"""Every name of every site that can be edited means, when it is written, what it means where it
comes from: HuggingFace's own forward hook (`:output`) or forward pre-hook (`:input`) at the literal
module path, and TransformerLens' hook points by the module or the expression that they stand for.
Compared are the logits, every block's output and all hidden states."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.client import site_pb2

pytestmark = pytest.mark.live

TOKENS = [17, 230, 5, 1999, 640, 88, 5, 1203, 411]
LAYERS = 12
FACTOR = 1.5
TOLERANCE = 1e-5  # Relative to the largest absolute value.

# TransformerLens' hook points (and this contract's own names) by the module of HuggingFace's that
# has the value.
MODULES = {
    "hook_embed": "transformer.wte:output",
    "hook_pos_embed": "transformer.wpe:output",
    "hook_resid_pre": ":input",
    "hook_attn_in": "ln_1:input",
    "attn.hook_z": "attn.c_proj:input",
    "hook_z": "attn.c_proj:input",
    "hook_attn_out": "attn:output",
    "hook_mlp_in": "ln_2:input",
    "mlp.hook_pre": "mlp.act:input",
    "mlp.hook_post": "mlp.act:output",
    "hook_mlp_out": "mlp:output",
    "hook_resid_post": ":output",
    "embed": "transformer.wte:output",
    "pos_embed": "transformer.wpe:output",
    "resid_pre": ":input",
    "ln1_in": "ln_1:input",
    "ln1_out": "ln_1:output",
    "qkv": "attn.c_attn:output",
    "z": "attn.c_proj:input",
    "attn_out": "attn:output",
    "ln2_in": "ln_2:input",
    "ln2_out": "ln_2:output",
    "mlp_pre": "mlp.act:input",
    "mlp_post": "mlp.act:output",
    "mlp_out": "mlp:output",
    "resid_post": ":output",
    "ln_f_in": "transformer.ln_f:input",
    "ln_f_out": "transformer.ln_f:output",
    "logits": "lm_head:output",
}
# Those that no module has: reached by hand, see `huggingface`.
BY_HAND = {
    **{name: name[-1] for name in ("q", "k", "v", "hook_q", "hook_k", "hook_v")},
    **{f"attn.hook_{name}": name for name in "qkv"},
    **dict.fromkeys(("attn_scores", "hook_attn_scores", "attn.hook_attn_scores"), "scores"),
    **dict.fromkeys(("pattern", "hook_pattern", "attn.hook_pattern"), "pattern"),
    **dict.fromkeys(("resid_mid", "hook_resid_mid"), "resid_mid"),
}


def sites() -> dict[str, site_pb2.SiteFacts]:
    """Every name of a site that can be edited."""
    found = {}
    for value in site_pb2.Site.DESCRIPTOR.values:
        facts = value.GetOptions().Extensions[site_pb2.site]
        if facts.editable:
            names = [value.name.removeprefix("SITE_").lower(), *facts.aliases]
            found |= dict.fromkeys(names, facts)
    return found


SITES = sites()


def test_every_name_has_a_meaning_here():
    """Names of HuggingFace's are their own meaning."""
    others = {name for name in SITES if ":" not in name}
    assert others == MODULES.keys() | BY_HAND.keys()


@pytest.fixture(scope="module")
def model(model_dir):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.set_num_threads(1)  # Else they are in the server's way.
    loaded = transformers.GPT2LMHeadModel.from_pretrained(model_dir, attn_implementation="eager")
    return loaded.eval()


@pytest.fixture(scope="module")
def plain(model):
    """Logits without an edit."""
    return run_huggingface(model, "hook_embed", 0, lambda x: x)["logits"]


Change = Callable  # A tensor as it stands there, to what it becomes.


def hook(model, path: str, layer: int, change: Change):
    """Registers the hook that a path describes, at the literal module."""
    name, side = path.split(":")
    if not path.startswith(("transformer.", "lm_head")):
        name = f"transformer.h.{layer}" + ("." + name if name else "")
    module = model.get_submodule(name)
    if side == "input":
        return module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))

    def after(_, args, output):
        return (change(output[0]), *output[1:]) if type(output) is tuple else change(output)

    return module.register_forward_hook(after)


@contextlib.contextmanager
def edited(model, name: str, layer: int, change: Change):
    """HuggingFace's model with an edit at the place that a name means."""
    place = BY_HAND.get(name)
    with contextlib.ExitStack() as stack:
        if place is None:
            stack.callback(hook(model, MODULES.get(name, name), layer, change).remove)
        elif place in ("scores", "pattern"):
            stack.enter_context(_around_softmax(model, place, layer, change))
        elif place == "resid_mid":
            for handle in _stream_behind_attention(model, layer, change):
                stack.callback(handle.remove)
        else:
            fused = _columns(model, "qkv".index(place), change)
            stack.callback(hook(model, "attn.c_attn:output", layer, fused).remove)
        yield


def _columns(model, number: int, change: Change) -> Change:
    """Of the fused projection: queries, keys or values."""

    def change_columns(fused):
        parts = list(fused.split(model.config.n_embd, dim=-1))
        parts[number] = change(parts[number])
        return fused.new_tensor(np.concatenate([part.detach().numpy() for part in parts], -1))

    return change_columns


def _stream_behind_attention(model, layer: int, change: Change) -> list:
    """The residual stream has no module there: its LayerNorm sees it, and what the edit adds to it
    is added to what the MLP adds."""
    added = []

    def before_norm(x):
        added.append(change(x) - x)
        return x + added[-1]

    return [
        hook(model, "ln_2:input", layer, before_norm),
        hook(model, "mlp:output", layer, lambda output: output + added.pop()),
    ]


@contextlib.contextmanager
def _around_softmax(model, place: str, layer: int, change: Change):
    """Eager attention calls softmax once in each block, in order."""
    import torch

    softmax, calls = torch.nn.functional.softmax, []

    def changed(scores, *args, **kwargs):
        calls.append(None)
        if len(calls) - 1 != layer:
            return softmax(scores, *args, **kwargs)
        if place == "scores":
            return softmax(change(scores), *args, **kwargs)
        return change(softmax(scores, *args, **kwargs)).tril()

    torch.nn.functional.softmax = changed
    try:
        yield
    finally:
        torch.nn.functional.softmax = softmax
    assert len(calls) == LAYERS


def run_huggingface(model, name: str, layer: int, change: Change) -> dict[str, np.ndarray]:
    import torch

    blocks: dict[int, np.ndarray] = {}

    def note(index: int):
        def look(output):
            blocks[index] = output[0].numpy()
            return output

        return look

    with torch.inference_mode(), edited(model, name, layer, change):
        notes = [hook(model, ":output", index, note(index)) for index in range(LAYERS)]
        try:
            out = model(torch.tensor([TOKENS]), output_hidden_states=True, use_cache=False)
        finally:
            for handle in notes:
                handle.remove()
    found = {f"block {index}": value for index, value in blocks.items()}
    found |= {f"hidden state {i}": value[0].numpy() for i, value in enumerate(out.hidden_states)}
    return {"logits": out.logits[0].numpy(), **found}


def run_server(client, name: str, layer: int, delta: np.ndarray) -> dict[str, np.ndarray]:
    place = {"path": name, "where": {"layers": [layer]} if SITES[name].per_layer else {}}
    tensor = {"shape": list(delta.shape), "values": delta.ravel().tolist()}
    result = client.run(
        {
            "prompts": [{"token_ids": {"ids": TOKENS}}],
            "interventions": [
                {"place": place, "scale": {"factor": FACTOR}},
                {"place": place, "add": {"tensor": tensor}},
            ],
            "block_outputs": {},
            "output_hidden_states": True,
            "logits": {"full": {}, "positions": {"range": {}}},
        }
    )
    found = {f"block {i}": result.block_output(i)[0][0] for i in range(LAYERS)}
    found |= {f"hidden state {i}": value for i, value in enumerate(result.hidden_states())}
    return {"logits": result.logits(), **found}


def delta_of(name: str, config) -> np.ndarray:
    """What is added, in the shape that broadcasts to the site here."""
    axes, random = list(SITES[name].axes), np.random.default_rng(3)
    heads = config.n_head, config.n_embd // config.n_head
    if site_pb2.AXIS_KEY in axes:
        shape: tuple[int, ...] = (len(TOKENS),)
    elif site_pb2.AXIS_HEAD in axes:
        shape = heads
    else:
        width = SITES[name].unit_axis
        shape = {
            site_pb2.UNIT_AXIS_QKV: (3 * config.n_embd,),
            site_pb2.UNIT_AXIS_D_MLP: (4 * config.n_embd,),
            site_pb2.UNIT_AXIS_VOCAB: (config.vocab_size,),
        }.get(width, (config.n_embd,))
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "name, layer",
    [
        (name, layer)
        for name, facts in SITES.items()
        for layer in ((5, LAYERS - 1) if facts.per_layer else (0,))
    ],
)
def test_written(client, model, plain, name, layer):
    import torch

    delta = delta_of(name, model.config)
    added = torch.from_numpy(delta.ravel())
    want = run_huggingface(model, name, layer, lambda x: x * FACTOR + added)
    got = run_server(client, name, layer, delta)
    assert np.abs(want["logits"] - plain).max() > 1e-2, "the edit does nothing"
    assert want.keys() == got.keys()
    for what, value in want.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(
            got[what], value, rtol=0, atol=TOLERANCE * scale, err_msg=f"{name}: {what}"
        )
