"""Path patching as variants of a sweep: what each cell does to the rows of a pair.

The prompts of such a sweep are those of the pairs, and then a copy of each, its *frozen* row. There
all heads and MLPs on the way have the values of the clean run, so what the senders change reaches
the receivers by the residual stream alone. The receivers' inputs are computed anew there, LayerNorm
included, and the prompt itself then runs with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scalpel import nodes, operations
from scalpel.alignment import selected
from scalpel.arguments import Arguments
from scalpel.axes import Axis
from scalpel.cells import SELECTORS, cell_axes, cells, placed
from scalpel.events import Tokens
from scalpel.info import ModelInfo
from scalpel.nodes import End, Moment, Node
from scalpel.operations import Operation
from scalpel.place import Where, place_fields
from scalpel.spec import Spec
from scalpel.v1 import sweep_pb2


class PathVariants:
    """The variants of one call. Raises ValueError for a sender behind its receivers."""

    def __init__(
        self,
        info: ModelInfo,
        senders: Sequence[Node],
        receivers: Sequence[Node],
        axes: Sequence[Axis],
        prompts: Sequence[Tokens],
        freeze_mlps: bool,
    ):
        self._info, self._prompts = info, prompts
        self._sites = ("z", "mlp_out") if freeze_mlps else ("z",)
        self._senders = _named(senders, "senders")
        self._receivers = [
            nodes.end_of(one, argument, nodes.RECEIVERS, info, one.where)
            for one, argument in _named(receivers, "receivers")
        ]
        self._last = max(moment for end in self._receivers for moment in end.moments)
        self._axes = cell_axes(axes, tuple(SELECTORS), self._every, prompts)
        self.axes = tuple(axis.shown for axis in self._axes)
        self._refuse_positions_apart(receivers)

    def add_to(self, request: sweep_pb2.SweepRequest, arguments: Arguments) -> None:
        """Writes them in the place of those that are there."""
        del request.variants.variants[:]
        for index, coordinates in enumerate(cells(self.axes)):
            variant = request.variants.variants.add()
            for i, (operation, end) in enumerate(self._interventions(coordinates)):
                variant.interventions.append(operation.proto)
                fields = {**operation.fields, **place_fields(end.node.where)}
                field = f"variants.variants[{index}].interventions[{i}]"
                spec = Spec(operation.proto, end.node.written, fields)
                arguments.add(field, end.argument, spec)

    def _interventions(self, coordinates: Sequence[int]) -> Iterator[tuple[Operation, End]]:
        """What a cell does, in this order, and for which end."""
        senders = [self._sender(index, coordinates) for index in range(len(self._senders))]
        first = min(moment for end in senders for moment in end.moments)
        reached = [end.within(lambda moment: moment > first) for end in self._receivers]
        receivers = [end for end in reached if end is not None]
        way = (first, self._last, self._info.config.n_layer)
        frozen = [(site, nodes.between(site, *way)) for site in self._sites]
        pairs = len(self._prompts)
        for pair in range(pairs):
            copy = pairs + pair
            for site, layers in frozen:
                if layers:
                    freeze = operations.patch(site, from_clean=copy, layer=layers, prompt=copy)
                    yield freeze, senders[0]
            for end in senders:
                where: Where = {**end.selectors(), "prompt": copy}
                yield operations.patch(end.site, from_clean=copy + pairs, **where), end
            for end in receivers:
                where = {**end.selectors(), "prompt": pair}
                yield operations.patch(end.site, from_prompt=copy, **where), end

    def _sender(self, index: int, coordinates: Sequence[int]) -> End:
        """A sender in one cell, in layers from which there is a path."""
        one, argument = self._senders[index]
        where = placed(self._axes, coordinates, index, one.where, f"{argument}: {one}")
        end = nodes.end_of(one, argument, nodes.SENDERS, self._info, where)
        ahead = end.within(self._is_ahead)
        if ahead is None or ("layer" in where and ahead.layers != end.layers):
            behind = [layer for layer, turn in end.moments if not self._is_ahead((layer, turn))]
            raise ValueError(
                f"{argument}: {one} writes in layer {behind[0]}, behind all that the receivers "
                "read; a path leads from a sender to a receiver that comes later"
            )
        return ahead

    def _is_ahead(self, moment: Moment) -> bool:
        """Whether a receiver comes later. A layer that there is not is left to the server."""
        return moment < self._last or moment[0] >= self._info.config.n_layer

    def _refuse_positions_apart(self, receivers: Sequence[Node]) -> None:
        """Attention is frozen, so nothing goes from one position to another."""
        for one, argument in self._senders:
            ends = (one, *receivers)
            if all(_apart(ends, prompt) for prompt in self._prompts):
                raise ValueError(
                    f"{argument}: {one} writes at positions where no receiver reads; a direct path "
                    "stays at its position"
                )

    def _every(self, selector: str, axis: Axis) -> Sequence[int]:
        """The values of an axis that means all: of layers, those from which there is a path."""
        if selector == "head":
            return range(self._info.config.n_head)
        if selector == "position":
            lengths = {len(prompt) for prompt in self._prompts}
            if len(lengths) > 1:
                raise ValueError(f"over: {axis} of prompts of {sorted(lengths)} tokens; name them")
            return range(lengths.pop())
        of = axis.proto.interventions
        ends = [
            nodes.end_of(one, argument, nodes.SENDERS, self._info, {})
            for i, (one, argument) in enumerate(self._senders)
            if not of or i in of
        ]
        reaching = [end.within(self._is_ahead) for end in ends]
        layers = [set(end.layers) for end in reaching if end is not None]
        return sorted(set.intersection(*layers)) if len(layers) == len(ends) and layers else []


def _named(several: Sequence[Node], argument: str) -> list[tuple[Node, str]]:
    """With the argument that each came from."""
    if len(several) == 1:
        return [(several[0], argument)]
    return [(one, f"{argument}[{i}]") for i, one in enumerate(several)]


def _apart(ends: Sequence[Node], prompt: Tokens) -> bool:
    """Whether the first of them has no position of a prompt in common with the others. Where one of
    them has none at all, the server says so."""
    sent, *read = (
        {position % len(prompt) for position in selected(one.proto.where.positions, prompt)}
        for one in ends
    )
    return bool(sent) and all(read) and not any(sent & positions for positions in read)
