"""Knockout of attention's edges one by one: which query needs which key (Geva et al. 2023)?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from scalpel import calls, operations, request_parts
from scalpel.alignment import selected
from scalpel.arguments import Arguments
from scalpel.axes import Axis, AxisLike, axes_of
from scalpel.calls import StreamCall
from scalpel.cells import as_grid, cell_axes, placed, position_axis, write_variants
from scalpel.events import SweepEvent, SweepStarted, Tokens
from scalpel.info import ModelInfo
from scalpel.metrics import Metric
from scalpel.observations import Stats
from scalpel.operations import Operation
from scalpel.place import Indices, Positions, Where, positions_of
from scalpel.plans import Plan
from scalpel.prompts import Prompts
from scalpel.spec import Spec, given, written
from scalpel.sweep_result import SweepResult
from scalpel.v1 import sweep_pb2


def knock_out_edges(
    prompts: Prompts,
    *,
    query: Positions | None = None,
    key: Positions | None = None,
    layer: Indices | None = None,
    head: Indices | None = None,
    over: AxisLike | Sequence[AxisLike] = (),
    metrics: Metric | Sequence[Metric] = (),
    stats: Stats = (),
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> Plan[SweepResult]:
    """Knocks out each edge of attention by itself: one query is kept from one key, and the other
    weights of its row renormalise. `knockout` in a run or a sweep takes several edges at once.

    >>> edges = model.knock_out_edges(prompt, head=11, layer=8, metrics=logit_diff(" A", " B"))
    >>> edges.array()  # [query, key]; NaN where the key comes after the query
    >>> model.knock_out_edges(prompt, query=-1, over="layers", metrics=...)  # [layer, query, key]

    query, key: the positions that attend, and those attended to; left out, all. Of several prompts
        each looks them up for itself, such as `tokens(...)`, and must have as many.
    layer, head: where the edges are; left out, in all layers or heads at once.
    over: "layers", "heads" or both, or axes made by `layers` and `heads`: one at a time.
    metrics, stats, timeout, progress, request_id: as in `sweep`.

    Returns a `SweepResult` with the axes `query` and `key` after those of `over`. Raises as
    `sweep`, and ValueError where there is no edge. Thread-safe.
    """
    outline = calls.sweep(
        prompts, variants=[()], metrics=metrics, stats=stats, timeout=timeout, progress=progress,
        request_id=request_id,
    )  # fmt: skip
    axes = axes_of(over)
    where: Where = given(layer=layer, head=head)  # type: ignore[assignment]
    call = written("knock_out_edges", query=query, key=key, **where)

    def write(info: ModelInfo, started: SweepStarted) -> StreamCall[SweepEvent, Any]:
        edges = _Edges(info, started.prompts, axes, where, (query, key))
        request = request_parts.copied(outline.request)
        edges.add_to(request, outline.arguments, call)

        def collect(events: list[SweepEvent]) -> SweepResult:
            shown = [as_grid(event, edges.axes, edges.places) for event in events]
            return SweepResult(request, shown)

        return dataclasses.replace(outline, request=request, collect=collect)

    return Plan(outline, write)


class _Edges:
    """The variants of one call: one for each edge, in each cell of the axes. Raises ValueError
    where there is none."""

    def __init__(
        self,
        info: ModelInfo,
        prompts: Sequence[Tokens],
        axes: Sequence[Axis],
        where: Where,
        ends: tuple[Positions | None, Positions | None],
    ):
        sizes = {"layer": info.config.n_layer, "head": info.config.n_head}
        self._where = where
        self._over = cell_axes(axes, ("layers", "heads"), lambda s, _: range(sizes[s]), prompts)
        self._queries, self._keys = (
            [_places(positions, name, prompt) for prompt in prompts]
            for name, positions in zip(("query", "key"), ends, strict=True)
        )
        shown = [
            position_axis(name, _of_all(name, places), prompts)
            for name, places in (("query", self._queries), ("key", self._keys))
        ]
        self.axes = (*(axis.shown for axis in self._over), *shown)
        self.places: list[int] = []  # The cell of each variant: not every cell has an edge.

    def add_to(self, request: sweep_pb2.SweepRequest, arguments: Arguments, call: str) -> None:
        """Writes them in the place of those that are there."""

        def edits(at: Sequence[int]) -> Iterator[tuple[Operation, str, Spec[Any]]]:
            for operation in self._knockouts(at[:-2], *at[-2:]):
                fields = {**operation.fields, "": "query, key"}
                yield operation, "", Spec(operation.proto, call, fields)

        self.places = write_variants(request, arguments, self.axes, edits)
        if not self.places:
            raise ValueError("query, key: no edge; a query attends to keys at or before it")

    def _knockouts(self, over: Sequence[int], query: int, key: int) -> Iterator[Operation]:
        """Of one edge, in each prompt that has it."""
        where = placed(self._over, over, 0, self._where, "knock_out_edges")
        for prompt, (queries, keys) in enumerate(zip(self._queries, self._keys, strict=True)):
            if keys[key] <= queries[query]:
                where["prompt"] = prompt
                yield operations.knockout([(queries[query], keys[key])], **where)


def _places(positions: Positions | None, name: str, prompt: Tokens) -> list[int]:
    """Positions of a prompt, counted from its start."""
    if positions is None:
        return list(range(len(prompt)))
    found = selected(positions_of(positions, name), prompt)
    for one in found:
        if not -len(prompt) <= one < len(prompt):
            raise ValueError(f"{name}: {one} is outside a prompt of {len(prompt)} tokens")
    if not found:
        raise ValueError(f"{name}: {positions} is nowhere in a prompt of {len(prompt)} tokens")
    return [one % len(prompt) for one in found]


def _of_all(name: str, places: Sequence[list[int]]) -> list[int]:
    """What stands along an axis: the positions of the first prompt."""
    counts = {len(one) for one in places}
    if len(counts) > 1:
        raise ValueError(
            f"{name}: prompts have {sorted(counts)} such positions; name as many in each, such as "
            f"{name}=-1"
        )
    return places[0]
