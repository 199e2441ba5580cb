"""Path patching as variants of a sweep: what each cell does to the rows of a pair.

The prompts of such a sweep are those of the pairs, and then a copy of each, its *frozen* row. There
all heads and MLPs on the way have the values of the clean run, so what the senders change reaches
the receivers by the residual stream alone. The receivers' inputs are computed anew there, LayerNorm
included, and the prompt itself then runs with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scalpel import operations
from scalpel.alignment import selected
from scalpel.arguments import Arguments
from scalpel.cells import write_variants
from scalpel.events import Tokens
from scalpel.info import ModelInfo
from scalpel.nodes import Node
from scalpel.operations import Operation
from scalpel.path_ends import End, Moment, Side, between
from scalpel.place import Where, place_fields
from scalpel.spec import Spec
from scalpel.v1 import sweep_pb2


class PathVariants:
    """The variants of one call. Raises ValueError for a sender behind its receivers."""

    def __init__(
        self,
        info: ModelInfo,
        senders: Side,
        receivers: Side,
        prompts: Sequence[Tokens],
        freeze_mlps: bool,
    ):
        self._depth, self._prompts = info.config.n_layer, prompts
        self._sites = ("z", "mlp_out") if freeze_mlps else ("z",)
        self._senders, self._receivers = senders, receivers
        first, last = min(senders.moments()), max(receivers.moments())
        senders.sweep(lambda moment: self._is_ahead(moment, last))
        receivers.sweep(lambda moment: moment > first)
        self.axes = (*senders.axes, *receivers.axes)
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise ValueError(f"over_receivers: of the axes {', '.join(names)} two have one name")
        self.places: list[int] = []  # The cell of each variant: some have no path.
        self._refuse_positions_apart()

    def add_to(self, request: sweep_pb2.SweepRequest, arguments: Arguments) -> None:
        """Writes them in the place of those that are there."""
        self.places = write_variants(request, arguments, self.axes, self._edits)
        if not self.places:
            raise ValueError("senders, receivers: there is no path from any of them to any other")

    def _edits(self, coordinates: Sequence[int]) -> Iterator[tuple[Operation, str, Spec[Any]]]:
        """What a cell does, in this order. Nothing where there is no path."""
        cut = len(self._senders.axes)
        receivers = self._receivers.at(coordinates[cut:])
        last = max(moment for end in receivers for moment in end.moments)
        ahead = [self._ahead(end, last) for end in self._senders.at(coordinates[:cut])]
        senders = [end for end in ahead if end is not None]
        if len(senders) < len(ahead):
            return
        first = min(moment for end in senders for moment in end.moments)
        reached = [end.within(lambda moment: moment > first) for end in receivers]
        frozen = [(site, between(site, first, last, self._depth)) for site in self._sites]
        pairs = len(self._prompts)
        for pair in range(pairs):
            copy = pairs + pair
            for site, layers in frozen:
                if layers:
                    freeze = operations.patch(site, from_clean=copy, layer=layers, prompt=copy)
                    yield _from_argument(freeze, senders[0])
            for end in senders:
                where: Where = {**end.selectors(), "prompt": copy}
                send = operations.patch(end.site, from_clean=copy + pairs, **where)
                yield _from_argument(send, end)
            for end in filter(None, reached):
                where = {**end.selectors(), "prompt": pair}
                receive = operations.patch(end.site, from_prompt=copy, **where)
                yield _from_argument(receive, end)

    def _ahead(self, end: End, last: Moment) -> End | None:
        """A sender in layers from which there is a path; None in a cell that has none, where
        receivers are swept."""
        ahead = end.within(lambda moment: self._is_ahead(moment, last))
        if ahead is not None and (ahead.layers == end.layers or not end.named):
            return ahead
        if self._receivers.axes:
            return None
        behind = next(moment for moment in end.moments if not self._is_ahead(moment, last))
        raise ValueError(
            f"{end.argument}: {end.node} writes in layer {behind[0]}, behind all that the "
            "receivers read; a path leads from a sender to a receiver that comes later"
        )

    def _is_ahead(self, moment: Moment, last: Moment) -> bool:
        """Whether a receiver comes later. A layer that there is not is left to the server."""
        return moment < last or moment[0] >= self._depth

    def _refuse_positions_apart(self) -> None:
        """Attention is frozen, so nothing goes from one position to another."""
        for one, argument in zip(self._senders.nodes, self._senders.arguments, strict=True):
            ends = (one, *self._receivers.nodes)
            if all(_apart(ends, prompt) for prompt in self._prompts):
                raise ValueError(
                    f"{argument}: {one} writes at positions where no receiver reads; a direct path "
                    "stays at its position"
                )


def _from_argument(operation: Operation, end: End) -> tuple[Operation, str, Spec[Any]]:
    """An operation with the argument that it came from, and its fields there."""
    fields = {**operation.fields, **place_fields(end.node.where)}
    return operation, end.argument, Spec(operation.proto, end.node.written, fields)


def _apart(ends: Sequence[Node], prompt: Tokens) -> bool:
    """Whether the first of them has no position of a prompt in common with the others. Where one of
    them has none at all, the server says so."""
    sent, *read = (
        {position % len(prompt) for position in selected(one.proto.where.positions, prompt)}
        for one in ends
    )
    return bool(sent) and all(read) and not any(sent & positions for positions in read)
