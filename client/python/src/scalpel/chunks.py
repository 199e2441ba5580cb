"""A sweep in pieces, and their answers put together again: pure data, for `scalpel.spread`.

A piece holds variants that follow one another, so its answer has its place in the whole by the
index of its first variant.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scalpel.events import Cost, Finished, SweepClean, SweepEvent, SweepStarted, Variant
from scalpel.v1 import model_pb2, sweep_pb2, tensor_pb2

# Of one sweep, for each server: enough that none waits long for the last, and few enough that what
# the variants of a chunk share is worth computing once for it.
_CHUNKS_PER_SERVER = 8


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some of a sweep's variants, as a request of their own."""

    first: int
    """The index of its first variant in the whole."""
    count: int
    """How many there are."""
    request: sweep_pb2.SweepRequest
    """Its own request."""


def size_for(variants: int, servers: int) -> int:
    """How many variants a chunk shall have at most."""
    return max(1, math.ceil(variants / (_CHUNKS_PER_SERVER * servers)))


def split(
    request: sweep_pb2.SweepRequest, normalized: sweep_pb2.SweepRequest, size: int
) -> list[Chunk]:
    """The sweep in chunks of at most `size` variants, in order. `normalized`: the request as a
    server understood it, which has the values of axes that mean all."""
    if request.WhichOneof("sweep") == "variants":
        return list(_parts_of_list(request, size))
    return list(_parts_of_grid(request, normalized, size))


def count_at_most(request: sweep_pb2.SweepRequest, config: model_pb2.ModelConfig) -> int:
    """How many variants the sweep has, or more where an axis is of all positions: only a server
    knows how many tokens a text is."""
    if request.WhichOneof("sweep") == "variants":
        return len(request.variants.variants)
    everything = {"layers": config.n_layer, "heads": config.n_head, "positions": config.n_ctx}
    lengths = (
        _length(axis) or everything.get(axis.WhichOneof("over") or "", 0)
        for axis in request.grid.axes
    )
    return math.prod(lengths)


def samples(request: sweep_pb2.SweepRequest, most: int) -> list[sweep_pb2.SweepRequest]:
    """Parts of a sweep that a server takes, with at most `most` variants, in which all of it can be
    seen: of a grid, each axis with the first value of the others; of a list, its beginning."""
    if request.WhichOneof("sweep") == "variants":
        return [next(_parts_of_list(request, most)).request]
    made = []
    for shown in range(len(request.grid.axes)):
        part = _without_sweep(request)
        part.grid.interventions.extend(request.grid.interventions)
        part.grid.axes.extend(
            axis if i == shown else _first(axis) for i, axis in enumerate(request.grid.axes)
        )
        made.append(part)
    return made


def outline(request: sweep_pb2.SweepRequest, seen: Sequence[SweepStarted]) -> SweepStarted:
    """What a server would say of the whole, from what it says of its samples. The digest is empty,
    and the cost is that of the chunks, once they are done."""
    normalized = sweep_pb2.SweepRequest()
    normalized.CopyFrom(seen[0].normalized)
    no_cost = Cost(0, 0, 0.0, 0, 0, 0.0)
    unknown: dict[str, Any] = {"digest": "", "cost": no_cost, "normalized": normalized}
    if not seen[0].axes:
        count = len(request.variants.variants)
        return dataclasses.replace(seen[0], variants=count, **unknown)
    del normalized.grid.axes[:]
    normalized.grid.axes.extend(one.normalized.grid.axes[i] for i, one in enumerate(seen))
    axes = tuple(one.axes[i] for i, one in enumerate(seen))
    count = math.prod(len(axis.labels) for axis in axes)
    return dataclasses.replace(seen[0], variants=count, axes=axes, **unknown)


def join(
    started: SweepStarted, answers: Sequence[tuple[Chunk, Sequence[SweepEvent]]]
) -> list[SweepEvent]:
    """The events of the whole sweep from those of its chunks, in any order. `started` is of the
    whole. The last event is missing where variants are."""
    shape = tuple(len(axis.labels) for axis in started.axes)
    clean: SweepClean | None = None
    variants: list[SweepEvent] = []
    ends: list[tuple[Chunk, Finished]] = []
    costs: list[Cost] = []
    for chunk, events in sorted(answers, key=lambda answer: answer[0].first):
        for event in events:
            if isinstance(event, Variant):
                variants.append(_placed(event, chunk.first, shape))
            elif isinstance(event, SweepStarted):
                costs.append(event.cost)
            elif isinstance(event, SweepClean):
                clean = clean or event
            elif isinstance(event, Finished):
                ends.append((chunk, event))
    whole: list[SweepEvent] = [_as_run(started, costs)]
    if clean is not None:
        whole.append(clean)
    whole += variants
    if len(variants) == started.variants:
        whole.append(_end(ends))
    return whole


# ---- apart ---------------------------------------------------------------------------------------


def _parts_of_list(request: sweep_pb2.SweepRequest, size: int) -> Iterator[Chunk]:
    variants = request.variants.variants
    for first in range(0, len(variants), size):
        part = _without_sweep(request)
        for index, variant in enumerate(variants[first : first + size], first):
            named = part.variants.variants.add()
            named.CopyFrom(variant)
            # What it is called in the whole; the server would count within the chunk.
            named.name = variant.name or f"variants[{index}]"
        yield Chunk(first, len(part.variants.variants), part)


def _parts_of_grid(
    request: sweep_pb2.SweepRequest, normalized: sweep_pb2.SweepRequest, size: int
) -> Iterator[Chunk]:
    axes = [
        _with_values(*pair) for pair in zip(request.grid.axes, normalized.grid.axes, strict=True)
    ]
    shape = [_length(axis) for axis in axes]
    first = 0
    for box in _boxes(shape, size):
        part = _without_sweep(request)
        part.grid.interventions.extend(request.grid.interventions)
        part.grid.axes.extend(_cut(axis, values) for axis, values in zip(axes, box, strict=True))
        count = math.prod(values.stop - values.start for values in box)
        yield Chunk(first, count, part)
        first += count


def _boxes(shape: Sequence[int], size: int) -> Iterator[tuple[slice, ...]]:
    """A range on each axis: together at most `size` cells, that follow one another where the last
    axis is the fastest."""
    inner = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    cut = next(axis for axis, cells in enumerate(inner) if cells <= size)
    # Ranges of about equal length.
    step = math.ceil(shape[cut] / math.ceil(shape[cut] / (size // inner[cut])))
    whole = [slice(0, length) for length in shape[cut + 1 :]]
    for outer in itertools.product(*map(range, shape[:cut])):
        for start in range(0, shape[cut], step):
            one = [slice(index, index + 1) for index in outer]
            yield (*one, slice(start, min(start + step, shape[cut])), *whole)


def _without_sweep(request: sweep_pb2.SweepRequest) -> sweep_pb2.SweepRequest:
    part = sweep_pb2.SweepRequest()
    for field, value in request.ListFields():
        if field.name in ("variants", "grid"):
            continue
        if isinstance(value, (bool, int, str)):
            setattr(part, field.name, value)
        else:
            getattr(part, field.name).extend(value)
    return part


def _with_values(axis: sweep_pb2.GridAxis, normalized: sweep_pb2.GridAxis) -> sweep_pb2.GridAxis:
    """The axis with its values, where it means all; of directions only the request has them."""
    return axis if _length(axis) else normalized


def _length(axis: sweep_pb2.GridAxis) -> int:
    """How many values it has; 0: it means all."""
    over: Any = getattr(axis, axis.WhichOneof("over") or "values")
    return int(over.shape[0]) if axis.HasField("directions") else len(over.values)


def _first(axis: sweep_pb2.GridAxis) -> sweep_pb2.GridAxis:
    """The axis with one value: its first, or 0 where it means all."""
    if _length(axis):
        return _cut(axis, slice(0, 1))
    one = sweep_pb2.GridAxis()
    one.CopyFrom(axis)
    getattr(one, axis.WhichOneof("over") or "").values.append(0)
    return one


def _cut(axis: sweep_pb2.GridAxis, part: slice) -> sweep_pb2.GridAxis:
    """The axis with these of its values."""
    cut = sweep_pb2.GridAxis()
    cut.CopyFrom(axis)
    over: Any = getattr(cut, axis.WhichOneof("over"))
    if axis.HasField("directions"):
        _cut_rows(axis.directions, over, part)
        return cut
    kept = over.values[part]
    del over.values[:]
    over.values.extend(kept)
    return cut


def _cut_rows(tensor: tensor_pb2.Tensor, cut: tensor_pb2.Tensor, part: slice) -> None:
    rows = tensor.shape[0]
    cut.shape[0] = part.stop - part.start
    row_bytes, row_values = len(tensor.data) // rows, len(tensor.values) // rows
    cut.data = tensor.data[part.start * row_bytes : part.stop * row_bytes]
    del cut.values[:]
    cut.values.extend(tensor.values[part.start * row_values : part.stop * row_values])


# ---- together ------------------------------------------------------------------------------------


def _placed(variant: Variant, first: int, shape: tuple[int, ...]) -> Variant:
    index = first + variant.index
    at = tuple(map(int, np.unravel_index(index, shape))) if shape else ()
    return dataclasses.replace(variant, index=index, coordinates=at)


def _end(answers: Sequence[tuple[Chunk, Finished]]) -> Finished:
    """Waiting was at the same time; computing was not, if there had been one server. The chunks in
    order."""
    ends = [end for _, end in answers]
    made = Finished(
        queue_seconds=max(end.queue_seconds for end in ends),
        compute_seconds=sum(end.compute_seconds for end in ends),
        tokens_computed=sum(end.tokens_computed for end in ends),
        non_finite_variants=sum(end.non_finite_variants for end in ends),
    )
    for chunk, end in answers:
        if end.first_non_finite_variant is not None:
            first = chunk.first + end.first_non_finite_variant
            return dataclasses.replace(
                made, first_non_finite=end.first_non_finite, first_non_finite_variant=first
            )
    return made


def _as_run(started: SweepStarted, costs: Sequence[Cost]) -> SweepStarted:
    """It was only validated. `costs`: of the chunks, where no server said that of the whole."""
    normalized = sweep_pb2.SweepRequest()
    normalized.CopyFrom(started.normalized)
    normalized.validate_only = False
    cost = started.cost if started.digest else _sum(costs)
    return dataclasses.replace(started, normalized=normalized, cost=cost)


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(
        rows=sum(cost.rows for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        flops=sum(cost.flops for cost in costs),
        response_bytes=sum(cost.response_bytes for cost in costs),
        activation_bytes=max(cost.activation_bytes for cost in costs),
        observation_seconds=max(cost.observation_seconds for cost in costs),
    )
