"""What a stream brings, as objects, in the order in which it comes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from scalpel import token_text
from scalpel.indices import Along
from scalpel.tensors import Tensor
from scalpel.v1 import run_pb2, sweep_pb2

if TYPE_CHECKING:
    import numpy.typing as npt


# ---- what both kinds of streams have ---------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A prompt as tokens."""

    ids: tuple[int, ...]
    """Token ids."""
    tokens: tuple[str, ...]
    """Each token decoded by itself, `<50300>` for an id that the tokenizer does not have; empty
    when the model has no tokenizer."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a request costs, known before it runs."""

    rows: int
    """One for each prompt, and one more for each clean run."""
    tokens: int
    """Of all rows: the most that is computed."""
    flops: float
    """Of the forward pass over all of them; a multiply-add counts as two."""
    response_bytes: int
    """An upper bound of what is sent."""
    activation_bytes: int
    """Memory that one pass takes beside the weights, an upper bound. Of a sweep: the largest
    variant's."""
    observation_seconds: float
    """What interventions, probes and captures take beside the forward pass, an estimate. Of a
    sweep: the slowest variant's."""


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts by value: bins of equal width over [min, max]."""

    edges: npt.NDArray[np.float64]
    """[bins + 1]."""
    counts: npt.NDArray[np.int64]
    """[*kept axes, bins]."""
    below: npt.NDArray[np.int64]
    """Elements below the first edge, [*kept axes]."""
    above: npt.NDArray[np.int64]
    """Elements above the last edge, [*kept axes]."""


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """What a probe saw at one layer in one prompt."""

    index: int
    """The probe's index in the request."""
    probe: str
    """Its name."""
    site: str
    """Such as `resid_post`."""
    layer: int | None
    """None at a site without layers."""
    prompt: int
    """The prompt, by index."""
    clean: bool
    """Whether this is of the clean run."""
    when: str
    """`before` or `after` the interventions there."""
    axes: tuple[str, ...]
    """Names of the kept axes, in the site's order; empty: one number each."""
    indices: tuple[Along, ...]
    """For each kept axis the model's own indices along it, in order, such as `(3, 7)` for heads 3
    and 7; None where an older server sent a part and did not say of what."""
    statistics: dict[str, npt.NDArray[np.float64]]
    """By name, such as `std`: [*kept axes]."""
    quantiles: dict[float, npt.NDArray[np.float64]]
    """By quantile: [*kept axes]."""
    histogram: Histogram | None
    """If asked."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What an intervention did over the whole request."""

    index: int
    """Its index in the request."""
    name: str
    """Its name."""
    sites_touched: int
    """(layer, prompt) pairs it was applied at."""
    elements_selected: int
    """Elements it selected there."""
    elements_changed: int
    """How many of them have other bits afterwards."""
    max_abs_change: float
    """The largest |after - before|, over finite differences only."""


@dataclasses.dataclass(frozen=True)
class TokenLogit:
    """One token's logit."""

    token_id: int
    """The token; -1 where there is none, because a logit of the position is NaN."""
    token: str
    """The token decoded; `<50300>` for an id that the tokenizer does not have, and empty where the
    model has no tokenizer."""
    logit: float
    """Its logit."""
    log_prob: float
    """Natural logarithm of its probability."""

    @property
    def prob(self) -> float:
        """Its probability under the softmax over the whole vocabulary."""
        return float(np.exp(self.log_prob))

    @property
    def shown(self) -> str:
        """The token decoded, `<50300>` where it has no text, or `NaN` where there is none."""
        return self.token or token_text.named(self.token_id)


# ---- runs ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, repr=False)
class Started:
    """The request was accepted. The first event of a run, once; of `validate`, the only one."""

    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What it will cost."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens."""
    normalized: run_pb2.RunRequest
    """The request as understood."""

    def __repr__(self) -> str:
        return f"<Started {self.request_id}: {self.cost}>"


@dataclasses.dataclass(frozen=True)
class LayerStatistics:
    """Probes' results of one layer, sent as soon as it is done."""

    layer: int | None
    """None for sites without layers."""
    results: tuple[ProbeResult, ...]
    """By site in order of computation, then probe, then prompt."""


@dataclasses.dataclass(frozen=True)
class BlockOutput:
    """The output tuple of one block, of prompts of equal length."""

    layer: int
    """The block."""
    prompts: tuple[int, ...]
    """The prompts along the batch axis."""
    clean: bool
    """Whether this is of the clean run."""
    tensors: tuple[Tensor, ...]
    """Hidden states [batch, position, d_model]; then, if asked, attentions [batch, head, query,
    key]."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Logits of some tokens at one position of one prompt."""

    prompt: int
    """The prompt, by index."""
    clean: bool
    """Whether this is of the clean run."""
    position: int
    """The position, from 0."""
    tokens: tuple[TokenLogit, ...]
    """By falling logit, or in the order of the ids asked."""


@dataclasses.dataclass(frozen=True)
class FirstNonFinite:
    """Where the first value of a run arose, in order of computation, that is infinite or NaN."""

    site: str
    """Such as `resid_post`."""
    layer: int | None
    """None at a site without layers."""
    head: int | None
    """None at a site without heads."""
    prompt: int
    """The prompt, by index."""
    position: int
    """The position, from 0; at `attn_scores` and `pattern` that of the query."""
    clean: bool
    """Whether it arose in the prompt's clean run."""
    by_intervention: bool
    """Whether the interventions there made it, and not the model."""

    def __str__(self) -> str:
        named = (("layer", self.layer), ("head", self.head))
        parts = [self.site, *(f"{name} {index}" for name, index in named if index is not None)]
        parts += [f"prompt {self.prompt}", f"position {self.position}"]
        parts += ["made by an intervention"] if self.by_intervention else []
        parts += ["in the clean run"] if self.clean else []
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class Finished:
    """The run, sweep or generation is complete. Last, once."""

    queue_seconds: float
    """Time in the queue."""
    compute_seconds: float
    """Time from the start of the computation to its end."""
    tokens_computed: int
    """Less than `Cost.tokens` where a clean run was known."""
    tensor_bytes: int = 0
    """Bytes of tensor data sent."""
    first_non_finite: FirstNonFinite | None = None
    """Where the first value arose that is infinite or NaN, of a sweep in the first variant that has
    one; None: there is none in the residual stream, nor in the logits."""
    non_finite_variants: int = 0
    """Of a sweep: how many variants have such a value."""
    first_non_finite_variant: int | None = None
    """Of a sweep: the first of these, by index."""
    new_tokens: int = 0
    """Of a generation: tokens over all streams."""


RunEvent = Started | LayerStatistics | Tensor | BlockOutput | Prediction | Report | Finished


# ---- sweeps ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SweepAxis:
    """An axis of a sweep."""

    name: str
    """Such as `layer`."""
    labels: tuple[str, ...]
    """Its values in words; a position with its token where there is one prompt."""
    values: tuple[float | int | str, ...]
    """Its values: indices, numbers, or the names of the variants."""


@dataclasses.dataclass(frozen=True, repr=False)
class SweepStarted:
    """The request was accepted. The first event of a sweep, once."""

    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What it will cost."""
    variants: int
    """How many there are."""
    axes: tuple[SweepAxis, ...]
    """The grid's axes; empty for a list."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens."""
    sources: tuple[Tokens, ...]
    """The sources as tokens."""
    normalized: sweep_pb2.SweepRequest
    """The request as understood, less what may be large: see the contract."""

    def __repr__(self) -> str:
        return f"<SweepStarted {self.request_id}: {self.variants} variants, {self.cost}>"


@dataclasses.dataclass(frozen=True)
class MetricValue:
    """The value of one metric in one prompt."""

    index: int
    """The metric's index in the request."""
    metric: str
    """Its name."""
    prompt: int
    """The prompt, by index; sources count on from the prompts."""
    values: tuple[float, ...]
    """One number, or one for each token asked."""
    top: tuple[TokenLogit, ...] = ()
    """Of `top_k`: by falling logit."""


@dataclasses.dataclass(frozen=True)
class SweepClean:
    """What prompts and sources come to without interventions. Before any variant, once."""

    metrics: tuple[MetricValue, ...]
    """By metric, then prompt."""
    stats: tuple[ProbeResult, ...]
    """Of the clean run of the prompts."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a variant came to. In any order."""

    index: int
    """Its index in the list, or the number of its cell, the last axis fastest."""
    name: str
    """Its name; empty in a grid."""
    coordinates: tuple[int, ...]
    """Its place in the grid; empty for a list."""
    metrics: tuple[MetricValue, ...]
    """By metric, then prompt."""
    stats: tuple[ProbeResult, ...]
    """By layer, site, probe and prompt."""
    reports: tuple[Report, ...]
    """One for each intervention, if asked."""

    def top(self, prompt: int = 0) -> tuple[TokenLogit, ...]:
        """The most probable tokens, of the first `top_k` metric."""
        return next((m.top for m in self.metrics if m.top and m.prompt == prompt), ())


@dataclasses.dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is; a few times a second at most."""

    done: int
    """Variants complete."""
    total: int
    """Variants in all."""


SweepEvent = SweepStarted | SweepClean | Variant | SweepProgress | Finished
