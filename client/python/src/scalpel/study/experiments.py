"""The six experiments that the project began with, as requests: files 01 to 06 of
`client/examples/requests`, at places that fit the model that is served."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from scalpel import observations, operations

if TYPE_CHECKING:
    from scalpel.info import ModelInfo
    from scalpel.model import Model
    from scalpel.prompts import Prompt
    from scalpel.run_result import RunResult

# The examples are written for this many layers.
_DEPTH = 12
_PROMPT = "When Mary and John went to the store, John gave a drink to"
_SECOND_PROMPT = "The war lasted from the year 1732 to the year 17"
NOISE_MEAN, NOISE_STD = 10.0, 1.0
MLP_FACTOR = 3.0


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where the experiments act."""

    prompts: tuple[Prompt, Prompt]
    """Texts; of a model without a tokenizer, token ids."""
    head_layer: int
    """Whose attention head loses its keys."""
    head: int
    """Which."""
    noise_layer: int
    """Whose neurons become noise."""
    scale_layer: int
    """Whose output is scaled, and whose output tuple is looked at."""
    mlp_layer: int
    """Whose MLP is scaled."""


def setting(info: ModelInfo) -> Setting:
    """The examples' places; in a model with fewer layers, those at the same part of its depth."""
    config = info.config

    def layer(example: int) -> int:
        return example if config.n_layer >= _DEPTH else example * config.n_layer // _DEPTH

    prompts: tuple[Prompt, Prompt] = (_PROMPT, _SECOND_PROMPT)
    if not info.has_tokenizer:
        lengths = (min(14, config.n_ctx), min(12, config.n_ctx))
        # Steps that have no divisor in common with most sizes of a vocabulary: few ids come twice.
        first = [(3 + 7 * i) % config.vocab_size for i in range(lengths[0])]
        prompts = (first, [(5 + 11 * i) % config.vocab_size for i in range(lengths[1])])
    return Setting(
        prompts=prompts,
        head_layer=layer(5),
        head=min(2, config.n_head - 1),
        noise_layer=layer(6),
        scale_layer=layer(9),
        mlp_layer=layer(3),
    )


def zero_keys(model: Model, at: Setting) -> RunResult:
    """A head's keys become zero, inside the fused QKV."""
    layer, head = at.head_layer, at.head
    return model.run(
        at.prompts[0],
        operations.zero("k", layer=layer, head=head, name=f"zero K of head {head}"),
        stats=observations.probe("pattern", "entropy", keep="head", layer=layer, name="entropy"),
        capture=observations.capture("pattern", layer=layer, head=head, name="pattern"),
        clean=True,
    )


def noise_neurons(model: Model, at: Setting) -> RunResult:
    """Every second MLP neuron becomes noise."""
    numbers = ("mean", "std", "min", "max")
    layer = at.noise_layer
    return model.run(
        at.prompts[0],
        operations.noise(
            "mlp_post", mean=NOISE_MEAN, std=NOISE_STD, layer=layer, unit=slice(None, None, 2),
            name="even neurons become noise",
        ),
        stats=[
            observations.probe("mlp_post", *numbers, layer=layer, when="before", name="before"),
            observations.probe("mlp_post", *numbers, layer=layer, name="after"),
            observations.probe("resid_post", "relative_l2", "cosine", "std", name="block output"),
        ],
        clean=True,
        seed=1,
    )  # fmt: skip


def scale_block(model: Model, at: Setting, factor: float) -> RunResult:
    """A block's output is multiplied."""
    layer = at.scale_layer
    numbers = ("std", "abs_max", "mean_l2_norm")
    return model.run(
        at.prompts[0],
        operations.scale("resid_post", factor, layer=layer, name=f"scale block {layer}"),
        stats=observations.probe("resid_post", *numbers, name="block output"),
        clean=True,
    )


def block_output(model: Model, at: Setting, attentions: bool) -> RunResult:
    """A block's output tuple, as HuggingFace transformers returns it."""
    return model.run(at.prompts[0], block_outputs=[at.scale_layer], output_attentions=attentions)


def std_by_layer(model: Model, at: Setting) -> RunResult:
    """One block's MLP is multiplied; the std of every block's output, in two prompts."""
    layer = at.mlp_layer
    name = f"MLP of block {layer} times {MLP_FACTOR:g}"
    return model.run(
        list(at.prompts),
        operations.scale("mlp_out", MLP_FACTOR, layer=layer, name=name),
        stats=observations.probe("resid_post", "std", name="block output"),
        clean=True,
    )
