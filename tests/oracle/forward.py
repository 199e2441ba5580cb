"""The forward pass of GPT-2 (Radford et al. 2019), written from its parts: a decoder of the
Transformer (Vaswani et al. 2017) with LayerNorm (Ba et al. 2016) before each sublayer and after the
last block, and GELU (Hendrycks and Gimpel 2016) by its formula with tanh."""

import math
from collections.abc import Callable, Generator

import numpy as np

from tests.oracle.weights import Model

Visit = tuple[str, int | None, np.ndarray]
Forward = Generator[Visit, np.ndarray, None]
Part = Generator[Visit, np.ndarray, np.ndarray]


def centred_and_scale(x: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """LayerNorm's two halves: x without its mean, and the root that divides it."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred, np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def gelu(x: np.ndarray) -> np.ndarray:
    """x (1 + tanh(u)) / 2, written as x / (1 + exp(-2 u)): far below 0 the other form is 0."""
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x: np.ndarray) -> np.ndarray:
    """By the normal distribution's cumulative function itself."""
    return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / np.sqrt(2)))


def silu(x: np.ndarray) -> np.ndarray:
    """x by its sigmoid (Elfwing et al. 2018)."""
    return x / (1 + np.exp(-x))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu_new": gelu,
    "gelu": exact_gelu,
    "relu": relu,
    "silu": silu,
    "tanh": np.tanh,
}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis. Of a row that is minus infinity throughout, zeros: such a query attends
    to nothing."""
    largest = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(largest), 0, largest))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)


def forward(model: Model, tokens: list[int]) -> Forward:
    """One prompt. Yields (site, layer, value) at every site, in order of computation, and goes on
    with the value that is sent back: the same one, or an edited one."""
    rows = np.array(tokens)
    tokens_in = yield "embed", None, model.weights["wte.weight"][rows]
    positions_in = yield "pos_embed", None, model.weights["wpe.weight"][: len(tokens)]
    x = tokens_in + positions_in
    for layer in range(model.n_layer):
        x = yield "resid_pre", layer, x
        x = x + (yield from _attention(model, layer, x))
        x = yield "resid_mid", layer, x
        x = x + (yield from _mlp(model, layer, x))
        x = yield "resid_post", layer, x
    x = yield from _layer_norm(model, "ln_f", None, x)
    yield "logits", None, x @ model.weights["lm_head.weight"].T


def _layer_norm(model: Model, name: str, layer: int | None, x: np.ndarray) -> Part:
    """`name`: ln1, ln2 or ln_f, as the sites are called."""
    module = "ln_f" if layer is None else f"h.{layer}.ln_{name[-1]}"
    gain, bias = model.part(module)
    x = yield name + "_in", layer, x
    centred, scale = centred_and_scale(x, model.epsilon)
    yield name + "_scale", layer, scale
    return (yield name + "_out", layer, centred / scale * gain + bias)


def _attention(model: Model, layer: int, x: np.ndarray) -> Part:
    """What the attention sublayer adds to the residual stream."""
    length, heads = len(x), model.n_head
    x = yield from _layer_norm(model, "ln1", layer, x)
    weight, bias = model.part(f"h.{layer}.attn.c_attn")
    qkv = yield "qkv", layer, x @ weight + bias
    q, k, v = (views(model, qkv)[name].transpose(1, 0, 2) for name in "qkv")
    scores = q @ k.transpose(0, 2, 1)
    if model.scaled:
        scores = scores / np.sqrt(model.d_head)
    if model.scaled_by_layer:
        scores = scores / (layer + 1)
    future = np.triu(np.ones((length, length), bool), 1)
    scores = yield "attn_scores", layer, np.where(future, -np.inf, scores)
    pattern = yield "pattern", layer, softmax(scores)
    z = yield "z", layer, (pattern @ v).transpose(1, 0, 2)
    weight, bias = model.part(f"h.{layer}.attn.c_proj")
    by_head = weight.reshape(heads, model.d_head, model.d_model)
    yield "head_result", layer, (z.transpose(1, 0, 2) @ by_head).transpose(1, 0, 2)
    return (yield "attn_out", layer, z.reshape(length, model.d_model) @ weight + bias)


def _mlp(model: Model, layer: int, x: np.ndarray) -> Part:
    """What the MLP adds to the residual stream."""
    x = yield from _layer_norm(model, "ln2", layer, x)
    weight, bias = model.part(f"h.{layer}.mlp.c_fc")
    x = yield "mlp_pre", layer, x @ weight + bias
    x = yield "mlp_post", layer, ACTIVATIONS[model.activation](x)
    weight, bias = model.part(f"h.{layer}.mlp.c_proj")
    return (yield "mlp_out", layer, x @ weight + bias)


def views(model: Model, qkv: np.ndarray) -> dict[str, np.ndarray]:
    """The fused projection and what lies in it: columns of Q, then K, then V; in each, head after
    head. Views: who writes one writes the others."""
    parts = qkv.reshape(len(qkv), 3, model.n_head, model.d_head)
    assert np.shares_memory(parts, qkv)
    return {"qkv": qkv, "q": parts[:, 0], "k": parts[:, 1], "v": parts[:, 2]}
