"""The logit lens: what the model would predict if it ended after a layer (nostalgebraist 2020,
"interpreting GPT: the logit lens").

It needs no site of its own. With the outputs of attention and MLP set to zero in all later blocks,
the residual stream after layer l passes them unchanged, x + 0, and meets the model's own final
LayerNorm and head: the answer is exactly the lens at l. One sweep has a variant for each layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalpel import metrics, operations
from scalpel.events import TokenLogit, Tokens
from scalpel.prompts import prompt_of
from scalpel.sweep_result import SweepResult

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.model import Model
    from scalpel.prompts import Prompt
    from scalpel.request_parts import Interventions
    from scalpel.v1 import prompt_pb2


@dataclasses.dataclass(frozen=True)
class LogitLens:
    """What the residual stream predicts after each layer, at each position."""

    prompt: Tokens
    """The prompt as tokens."""
    layers: tuple[str, ...]
    """`embed`, then the layers: after which the lens reads. The last is the model's own answer."""
    positions: tuple[int, ...]
    """Where it reads."""
    top: tuple[tuple[tuple[TokenLogit, ...], ...], ...]
    """[layer][position]: the most probable tokens, by falling logit."""
    kl: npt.NDArray[np.float64]
    """[layer, position]: KL(the model's answer || the lens), in nats."""
    sweep: SweepResult
    """The answer that it was read from."""


def logit_lens(
    model: Model, prompt: Prompt, *, k: int = 5, positions: Sequence[int] | None = None
) -> LogitLens:
    """Reads the residual stream after each layer through the final LayerNorm and the head: exactly,
    in one call.

    >>> lens = study.logit_lens(model, "The capital of France is")
    >>> [row[-1][0].token for row in lens.top]  # the last position, layer by layer

    k: how many tokens of each.
    positions: negative from the end; left out, all of them, or the last ones of a prompt that is
        too long for the server's `max_metrics`.
    """
    asked_prompt = prompt_of(prompt)
    length = _length(model, asked_prompt)
    if positions is None:
        positions = range(max(0, length - model.info.limits.max_metrics // 2), length)
    positions = [p + length if p < 0 else p for p in positions]
    asked = [
        *(metrics.top_k(k, position=p, name=f"top {p}") for p in positions),
        *(metrics.kl_from_clean(position=p, name=f"kl {p}") for p in positions),
    ]
    depth = model.info.config.n_layer
    names = ("embed", *map(str, range(depth)))
    variants = {name: cut_after(layer, depth) for layer, name in enumerate(names, start=-1)}
    sweep = model.sweep(asked_prompt, variants=variants, metrics=asked)
    tops = [
        tuple(metric.top for metric in variant.metrics if metric.top) for variant in sweep.variants
    ]
    kl = np.stack([sweep.array(f"kl {p}") for p in positions], axis=1)
    return LogitLens(sweep.prompts[0], names, tuple(positions), tuple(tops), kl, sweep)


def cut_after(layer: int, depth: int) -> Interventions:
    """Ends a model of `depth` layers after `layer`: what later blocks would add is zero. -1: right
    after the embeddings."""
    later = range(layer + 1, depth)
    return [operations.zero(site, layer=later) for site in ("attn_out", "mlp_out") if later]


def _length(model: Model, prompt: prompt_pb2.Prompt) -> int:
    if prompt.HasField("text"):
        return len(model.tokenize(prompt.text))
    return len(prompt.token_ids.ids)
