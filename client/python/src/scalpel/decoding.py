"""Messages of the contract to events. The reader of a stream, a thread or an event loop, hands
every response to a decoder, and gets events from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from scalpel import indices, token_text
from scalpel.errors import ProtocolError
from scalpel.events import (
    BlockOutput,
    Cost,
    Finished,
    FirstNonFinite,
    Histogram,
    LayerStatistics,
    MetricValue,
    Prediction,
    ProbeResult,
    Report,
    RunEvent,
    Started,
    SweepAxis,
    SweepClean,
    SweepEvent,
    SweepProgress,
    SweepStarted,
    TokenLogit,
    Tokens,
    Variant,
)
from scalpel.spec import enum_name
from scalpel.tensors import Tensor, TensorAssembler, moment_name, site_name
from scalpel.v1 import (
    intervention_pb2,
    observation_pb2,
    output_pb2,
    prompt_pb2,
    run_pb2,
    statistic_pb2,
    sweep_pb2,
)

if TYPE_CHECKING:
    import numpy.typing as npt

Response = TypeVar("Response", contravariant=True)
Event = TypeVar("Event", covariant=True)


class Decoder(Protocol, Generic[Response, Event]):
    """Turns responses into events. One for each stream; not thread-safe."""

    def decode(self, response: Response) -> Iterator[Event]:
        """The events that this response completes."""

    def finish(self) -> None:
        """At the regular end of the stream: raises ProtocolError if something is missing."""


class Order:
    """The rules of every stream: `started` first and once, `finished` last and once."""

    def __init__(self, what: str) -> None:
        self._what, self._begun, self._complete = what, False, False

    def see(self, kind: str | None, validate_only: bool) -> None:
        """Takes the next event, by the name of its field; None for one of a later version."""
        if self._complete:
            raise ProtocolError(f"{kind} came after the {self._what} was complete")
        if (kind == "started") == self._begun:
            raise ProtocolError(f"{kind} came where the contract has another event")
        self._begun = True
        self._complete = kind == "finished" or validate_only

    def finish(self, whole: bool) -> None:
        """The end of the stream; `whole`: as far as its decoder can tell."""
        if not self._complete or not whole:
            raise ProtocolError(f"the stream ended before the {self._what} was complete; try again")


class RunDecoder:
    """The decoder of Run."""

    def __init__(self) -> None:
        self._order = Order("run")
        self._tensors = TensorAssembler(0)
        self._probes: Sequence[observation_pb2.Probe] = ()
        # The block output that is announced, and its tensors so far.
        self._block: run_pb2.BlockOutput | None = None
        self._elements: list[Tensor] = []

    def decode(self, response: run_pb2.RunResponse) -> Iterator[RunEvent]:
        kind = response.WhichOneof("event")
        self._order.see(kind, response.started.normalized.validate_only)
        if kind == "started":
            yield self._start(response.started)
        elif kind == "layer_statistics":
            yield self._layer(response.layer_statistics)
        elif kind == "block_output":
            self._begin_block(response.block_output)
        elif kind == "tensor_chunk":
            complete = self._tensors.add(response.tensor_chunk)
            if complete is not None:
                yield from self._tensor(*complete)
        elif kind == "logits":
            yield from _predictions(response.logits)
        elif kind == "intervention_report":
            yield report_of(response.intervention_report)
        elif kind == "finished":
            yield _run_finished(response.finished)

    def finish(self) -> None:
        self._order.finish(whole=not self._tensors.is_open and self._block is None)

    def _start(self, started: run_pb2.Started) -> Started:
        selections = {one.name: one.place.where for one in started.normalized.captures}
        self._tensors = TensorAssembler(started.cost.response_bytes, selections)
        self._probes = started.normalized.probes
        return Started(
            request_id=started.request_id,
            digest=started.digest,
            cost=cost_of(started.cost),
            prompts=prompts_of(started.prompts),
            normalized=started.normalized,
        )

    def _begin_block(self, block: run_pb2.BlockOutput) -> None:
        if self._block is not None or not block.tensor_ids:
            raise ProtocolError("a block output has no tensors, or not all of them")
        self._block, self._elements = block, []

    def _layer(self, layer: run_pb2.LayerStatistics) -> LayerStatistics:
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
        self._order = Order("sweep")
        self._probes: Sequence[observation_pb2.Probe] = ()
        self._variants = 0
        self._seen: set[int] = set()

    def decode(self, response: sweep_pb2.SweepResponse) -> Iterator[SweepEvent]:
        kind = response.WhichOneof("event")
        self._order.see(kind, response.started.normalized.validate_only)
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
            yield _sweep_finished(response.finished)

    def finish(self) -> None:
        self._order.finish(whole=len(self._seen) == self._variants)

    def _start(self, started: sweep_pb2.SweepStarted) -> SweepStarted:
        request = started.normalized
        self._probes = request.probes
        self._variants = 0 if request.validate_only else started.variants
        cells = math.prod(len(axis.labels) for axis in started.axes)
        if started.axes and cells != started.variants:
            raise ProtocolError(f"{started.variants} variants on axes of {cells} cells")
        prompts = prompts_of(started.prompts)
        return SweepStarted(
            request_id=started.request_id,
            digest=started.digest,
            cost=cost_of(started.cost),
            variants=started.variants,
            axes=tuple(
                _axis(*pair, prompts) for pair in zip(started.axes, request.grid.axes, strict=True)
            ),
            prompts=prompts[: len(request.prompts)],
            sources=prompts[len(request.prompts) :],
            normalized=request,
        )

    def _results(self, results: Sequence[observation_pb2.ProbeResult]) -> tuple[ProbeResult, ...]:
        return tuple(probe_result(result, self._probes) for result in results)

    def _variant(self, variant: sweep_pb2.VariantResult) -> Variant:
        if not 0 <= variant.index < self._variants or variant.index in self._seen:
            raise ProtocolError(f"variant {variant.index} came twice, or there is no such variant")
        self._seen.add(variant.index)
        return Variant(
            index=variant.index,
            name=variant.name,
            coordinates=tuple(variant.coordinates),
            metrics=_metric_values(variant.metrics),
            stats=self._results(variant.statistics),
            reports=tuple(map(report_of, variant.reports)),
        )


def probe_result(
    result: observation_pb2.ProbeResult, probes: Sequence[observation_pb2.Probe]
) -> ProbeResult:
    """A probe's result. `probes`: those of the normalised request, which know the kept axes."""
    shape = tuple(result.shape)
    if min(shape, default=1) < 1 or not 0 <= result.index < len(probes):
        raise ProtocolError(f"a result of probe {result.index} has shape {list(shape)}")
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
            enum_name(statistic_pb2.Statistic, "STATISTIC_", s.statistic): _array(s.values, shape)
            for s in result.statistics
        },
        quantiles={q.quantile: _array(q.values, shape) for q in result.quantiles},
        histogram=_histogram(result, probe) if result.HasField("histogram") else None,
    )


def _array(values: Sequence[float], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64).reshape(shape)


def _histogram(result: observation_pb2.ProbeResult, probe: observation_pb2.Probe) -> Histogram:
    shape, asked = tuple(result.shape), probe.histogram
    # First, because it fails where the counts are not of so many bins.
    counts = np.array(result.histogram.counts, np.int64).reshape(*shape, asked.bins)
    return Histogram(
        edges=np.linspace(asked.min, asked.max, asked.bins + 1),
        counts=counts,
        below=np.array(result.histogram.below, np.int64).reshape(shape),
        above=np.array(result.histogram.above, np.int64).reshape(shape),
    )


def prompts_of(prompts: Sequence[prompt_pb2.TokenizedPrompt]) -> tuple[Tokens, ...]:
    """The prompts of a request as tokens."""
    return tuple(tokens_of(prompt.ids, prompt.tokens) for prompt in prompts)


def tokens_of(ids: Sequence[int], tokens: Sequence[str]) -> Tokens:
    """A prompt as tokens, from the message's fields."""
    return Tokens(tuple(ids), tuple(map(token_text.decoded, tokens, ids)))


def cost_of(cost: run_pb2.Cost) -> Cost:
    """What a request costs."""
    return Cost(
        cost.rows,
        cost.tokens,
        cost.flops,
        cost.response_bytes,
        cost.activation_bytes,
        cost.observation_seconds,
    )


def token_logits(tokens: Sequence[output_pb2.TokenLogit]) -> tuple[TokenLogit, ...]:
    """Decoded logits."""
    return tuple(
        TokenLogit(t.token_id, token_text.decoded(t.token, t.token_id), t.logit, t.log_prob)
        for t in tokens
    )


def _predictions(logits: output_pb2.Logits) -> Iterator[Prediction]:
    for position in logits.positions:
        tokens = token_logits(position.tokens)
        yield Prediction(logits.prompt, logits.clean, position.position, tokens)


def report_of(report: intervention_pb2.InterventionReport) -> Report:
    """What an intervention did."""
    return Report(
        index=report.index,
        name=report.name,
        sites_touched=report.sites_touched,
        elements_selected=report.elements_selected,
        elements_changed=report.elements_changed,
        max_abs_change=report.max_abs_change,
    )


def _run_finished(finished: run_pb2.Finished) -> Finished:
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
    finished: run_pb2.Finished | sweep_pb2.SweepFinished,
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
        MetricValue(m.index, m.name, m.prompt, tuple(m.values), token_logits(m.tokens))
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
