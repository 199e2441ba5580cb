"""What a stream brings, as objects, in the order in which it comes. Whoever reads the bytes, a
thread or an event loop, hands every response to a decoder and gets events from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, Union

import numpy as np

from scalpel import indices, token_text
from scalpel.errors import ProtocolError
from scalpel.indices import Along
from scalpel.spec import enum_name
from scalpel.tensors import Tensor, TensorAssembler, moment_name, site_name
from scalpel.v1 import service_pb2, spec_pb2, sweep_pb2

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
    normalized: service_pb2.RunRequest
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
    """The run or sweep is complete. Last, once."""

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


RunEvent = Union[Started, LayerStatistics, Tensor, BlockOutput, Prediction, Report, Finished]


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


SweepEvent = Union[SweepStarted, SweepClean, Variant, SweepProgress, Finished]


# ---- decoding --------------------------------------------------------------------------------

Response = TypeVar("Response", contravariant=True)
Event = TypeVar("Event", covariant=True)


class Decoder(Protocol, Generic[Response, Event]):
    """Turns responses into events. One for each stream; not thread-safe."""

    def decode(self, response: Response) -> Iterator[Event]:
        """The events that this response completes."""

    def finish(self) -> None:
        """At the regular end of the stream: raises ProtocolError if something is missing."""


class RunDecoder:
    """The decoder of Run."""

    def __init__(self) -> None:
        self._complete = False
        self._tensors = TensorAssembler(0)
        self._keep: list[tuple[str, ...]] = []
        self._probes: Sequence[spec_pb2.Probe] = ()
        # The block output that is announced, and its tensors so far.
        self._block: service_pb2.BlockOutput | None = None
        self._elements: list[Tensor] = []

    def decode(self, response: service_pb2.RunResponse) -> Iterator[RunEvent]:
        kind = response.WhichOneof("event")
        if kind == "started":
            yield self._start(response.started)
        elif kind == "layer_statistics":
            yield self._layer(response.layer_statistics)
        elif kind == "block_output":
            self._block, self._elements = response.block_output, []
        elif kind == "tensor_chunk":
            complete = self._tensors.add(response.tensor_chunk)
            if complete is not None:
                yield from self._tensor(*complete)
        elif kind == "logits":
            yield from _predictions(response.logits)
        elif kind == "intervention_report":
            yield _report(response.intervention_report)
        elif kind == "finished":
            self._complete = True
            yield _run_finished(response.finished)

    def finish(self) -> None:
        if not self._complete or self._tensors.is_open or self._block is not None:
            raise ProtocolError("the stream ended before the run was complete; try again")

    def _start(self, started: service_pb2.Started) -> Started:
        self._complete = started.normalized.validate_only
        selections = {one.name: one.place.where for one in started.normalized.captures}
        self._tensors = TensorAssembler(started.cost.response_bytes, selections)
        self._probes = started.normalized.probes
        return Started(
            request_id=started.request_id,
            digest=started.digest,
            cost=_cost(started.cost),
            prompts=_prompts(started.prompts),
            normalized=started.normalized,
        )

    def _layer(self, layer: service_pb2.LayerStatistics) -> LayerStatistics:
        return LayerStatistics(
            layer=layer.layer if layer.HasField("layer") else None,
            results=tuple(probe_result(result, self._probes) for result in layer.results),
        )

    def _tensor(self, tensor_id: int, tensor: Tensor) -> Iterator[Tensor | BlockOutput]:
        block = self._block
        if block is None:
            yield tensor
            return
        if tensor_id != block.tensor_ids[len(self._elements)]:
            raise ProtocolError(f"tensor {tensor_id} is not of the block output before it")
        self._elements.append(tensor)
        if len(self._elements) == len(block.tensor_ids):
            self._block = None
            yield BlockOutput(block.layer, tuple(block.prompts), block.clean, tuple(self._elements))


class SweepDecoder:
    """The decoder of Sweep. Matrices are left out: they repeat the variants."""

    def __init__(self) -> None:
        self._complete = False
        self._probes: Sequence[spec_pb2.Probe] = ()

    def decode(self, response: sweep_pb2.SweepResponse) -> Iterator[SweepEvent]:
        kind = response.WhichOneof("event")
        if kind == "started":
            yield self._start(response.started)
        elif kind == "clean":
            clean = response.clean
            yield SweepClean(_metric_values(clean.metrics), self._results(clean.statistics))
        elif kind == "variant":
            yield self._variant(response.variant)
        elif kind == "progress":
            yield SweepProgress(response.progress.done, response.progress.total)
        elif kind == "finished":
            self._complete = True
            yield _sweep_finished(response.finished)

    def finish(self) -> None:
        if not self._complete:
            raise ProtocolError("the stream ended before the sweep was complete; try again")

    def _start(self, started: sweep_pb2.SweepStarted) -> SweepStarted:
        request = started.normalized
        self._complete = request.validate_only
        self._probes = request.probes
        prompts = _prompts(started.prompts)
        return SweepStarted(
            request_id=started.request_id,
            digest=started.digest,
            cost=_cost(started.cost),
            variants=started.variants,
            axes=tuple(_axis(*pair, prompts) for pair in zip(started.axes, request.grid.axes)),
            prompts=prompts[: len(request.prompts)],
            sources=prompts[len(request.prompts) :],
            normalized=request,
        )

    def _results(self, results: Sequence[spec_pb2.ProbeResult]) -> tuple[ProbeResult, ...]:
        return tuple(probe_result(result, self._probes) for result in results)

    def _variant(self, variant: sweep_pb2.VariantResult) -> Variant:
        return Variant(
            index=variant.index,
            name=variant.name,
            coordinates=tuple(variant.coordinates),
            metrics=_metric_values(variant.metrics),
            stats=self._results(variant.statistics),
            reports=tuple(map(_report, variant.reports)),
        )


def probe_result(result: spec_pb2.ProbeResult, probes: Sequence[spec_pb2.Probe]) -> ProbeResult:
    """A probe's result. `probes`: those of the normalised request, which know the kept axes."""
    shape = tuple(result.shape)
    probe = probes[result.index]
    # The numbers of axes ascend in the order in which sites have them.
    axes = indices.axis_names([one.axis for one in result.axes] or sorted(probe.keep))
    return ProbeResult(
        index=result.index,
        probe=result.name,
        site=site_name(result.site),
        layer=result.layer if result.HasField("layer") else None,
        prompt=result.prompt,
        clean=result.clean,
        when=moment_name(result.moment),
        axes=axes,
        indices=indices.along_axes(result.axes, axes, shape, probe.place.where),
        statistics={
            enum_name(spec_pb2.Statistic, "STATISTIC_", s.statistic): _array(s.values, shape)
            for s in result.statistics
        },
        quantiles={q.quantile: _array(q.values, shape) for q in result.quantiles},
        histogram=_histogram(result, probe) if result.HasField("histogram") else None,
    )


def _array(values: Sequence[float], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64).reshape(shape)


def _histogram(result: spec_pb2.ProbeResult, probe: spec_pb2.Probe) -> Histogram:
    shape, asked = tuple(result.shape), probe.histogram
    return Histogram(
        edges=np.linspace(asked.min, asked.max, asked.bins + 1),
        counts=np.array(result.histogram.counts, np.int64).reshape(*shape, asked.bins),
        below=np.array(result.histogram.below, np.int64).reshape(shape),
        above=np.array(result.histogram.above, np.int64).reshape(shape),
    )


def _prompts(prompts: Sequence[spec_pb2.TokenizedPrompt]) -> tuple[Tokens, ...]:
    return tuple(tokens_of(prompt.ids, prompt.tokens) for prompt in prompts)


def tokens_of(ids: Sequence[int], tokens: Sequence[str]) -> Tokens:
    """A prompt as tokens, from the message's fields."""
    return Tokens(tuple(ids), tuple(map(token_text.decoded, tokens, ids)))


def _cost(cost: spec_pb2.Cost) -> Cost:
    return Cost(cost.rows, cost.tokens, cost.flops, cost.response_bytes)


def _token_logits(tokens: Sequence[spec_pb2.TokenLogit]) -> tuple[TokenLogit, ...]:
    return tuple(
        TokenLogit(t.token_id, token_text.decoded(t.token, t.token_id), t.logit, t.log_prob)
        for t in tokens
    )


def _predictions(logits: spec_pb2.Logits) -> Iterator[Prediction]:
    for position in logits.positions:
        tokens = _token_logits(position.tokens)
        yield Prediction(logits.prompt, logits.clean, position.position, tokens)


def _report(report: spec_pb2.InterventionReport) -> Report:
    return Report(
        index=report.index,
        name=report.name,
        sites_touched=report.sites_touched,
        elements_selected=report.elements_selected,
        elements_changed=report.elements_changed,
        max_abs_change=report.max_abs_change,
    )


def _run_finished(finished: service_pb2.Finished) -> Finished:
    return Finished(
        queue_seconds=finished.queue_us * 1e-6,
        compute_seconds=finished.compute_us * 1e-6,
        tokens_computed=finished.tokens_computed,
        tensor_bytes=finished.tensor_bytes,
        first_non_finite=_first_non_finite(finished),
    )


def _sweep_finished(finished: sweep_pb2.SweepFinished) -> Finished:
    return Finished(
        queue_seconds=finished.queue_us * 1e-6,
        compute_seconds=finished.compute_us * 1e-6,
        tokens_computed=finished.tokens_computed,
        first_non_finite=_first_non_finite(finished),
        non_finite_variants=finished.non_finite_variants,
        first_non_finite_variant=(
            finished.first_non_finite_variant
            if finished.HasField("first_non_finite_variant")
            else None
        ),
    )


def _first_non_finite(
    finished: service_pb2.Finished | sweep_pb2.SweepFinished,
) -> FirstNonFinite | None:
    if not finished.HasField("first_non_finite"):
        return None
    first = finished.first_non_finite
    return FirstNonFinite(
        site=site_name(first.site),
        layer=first.layer if first.HasField("layer") else None,
        head=first.head if first.HasField("head") else None,
        prompt=first.prompt,
        position=first.position,
        clean=first.clean,
        by_intervention=first.by_intervention,
    )


def _metric_values(metrics: Sequence[sweep_pb2.MetricResult]) -> tuple[MetricValue, ...]:
    return tuple(
        MetricValue(m.index, m.name, m.prompt, tuple(m.values), _token_logits(m.tokens))
        for m in metrics
    )


def _axis(
    info: sweep_pb2.AxisInfo, axis: sweep_pb2.GridAxis, prompts: Sequence[Tokens]
) -> SweepAxis:
    # Positions are labelled with their tokens where there is one prompt, which is then the first.
    labels = tuple(token_text.relabelled(label, prompts[0].ids) for label in info.labels)
    over = axis.WhichOneof("over")
    values: tuple[float | int | str, ...] = tuple(range(len(labels)))  # Of directions: the rows.
    if over in ("layers", "heads", "positions", "values"):
        values = tuple(getattr(axis, over).values)
    return SweepAxis(info.name, labels, values)
