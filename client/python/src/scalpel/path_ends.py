"""The two sides of path patching in a model: who sends and who receives, when each has its turn in
the forward pass, and what it is swept over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from scalpel.axes import Axis
from scalpel.cells import SELECTORS, CellAxis, cell_axes, placed
from scalpel.events import SweepAxis, Tokens
from scalpel.info import ModelInfo
from scalpel.nodes import SENDERS, Node
from scalpel.place import Where, index_list

# When a node of a layer has its turn there: the attention reads, then writes, then the MLP does.
_TURNS = {
    "ln1_in": 0, "q": 0, "k": 0, "v": 0, "z": 1, "attn_out": 1, "ln2_in": 2, "mlp_out": 3,
}  # fmt: skip
_EMBEDDINGS = ("embed", "pos_embed")
Moment = tuple[int, int]  # In the forward pass: the layer, and the turn within it.


@dataclasses.dataclass(frozen=True)
class End:
    """A node as a model has it."""

    node: Node
    """As it was written."""
    argument: str
    """The argument that it came from, such as `senders[0]`."""
    site: str
    """The site's own name."""
    where: Where
    """Its selectors, but for the layers."""
    layers: tuple[int, ...]
    """Counted from the first; one that the model does not have stays as it was written, for the
    server to refuse. Empty at a site without layers."""
    named: bool
    """Whether the layers were said, by the node or by an axis; else they are all."""
    depth: int
    """How many layers the model has."""

    @property
    def moments(self) -> list[Moment]:
        """When it has its turns."""
        if self.site in _EMBEDDINGS:
            return [(-1, 0)]
        if self.site == "ln_f_in":
            return [(self.depth, 0)]
        return [(layer, _TURNS[self.site]) for layer in self.layers]

    def within(self, keep: Callable[[Moment], bool]) -> End | None:
        """With those of its layers whose moments are kept; None where there is none."""
        if not self.layers:
            return self if keep(self.moments[0]) else None
        kept = tuple(layer for layer, _ in filter(keep, self.moments))
        return dataclasses.replace(self, layers=kept) if kept else None

    def selectors(self) -> Where:
        """All of them."""
        where = self.where.copy()
        if self.layers:
            where["layer"] = self.layers
        return where


class Side:
    """All senders of a call, or all its receivers. Raises ValueError for a site that is not among
    the `allowed`."""

    def __init__(
        self,
        several: Sequence[Node],
        allowed: Sequence[str],
        axes: Sequence[Axis],
        info: ModelInfo,
        prompts: Sequence[Tokens],
    ):
        self._asked, self._info, self._prompts = axes, info, prompts
        is_sending = allowed is SENDERS
        self._over, name = ("over", "senders") if is_sending else ("over_receivers", "receivers")
        self._prefix = "" if is_sending else "to_"
        self.nodes = tuple(several)
        self.arguments = tuple(
            name if len(several) == 1 else f"{name}[{i}]" for i in range(len(several))
        )
        self._sites = [
            _site(one, argument, allowed, info)
            for one, argument in zip(self.nodes, self.arguments, strict=True)
        ]
        self._axes: list[CellAxis] = []

    @property
    def axes(self) -> tuple[SweepAxis, ...]:
        """As the result has them; once `sweep` was called."""
        return tuple(axis.shown for axis in self._axes)

    def moments(self) -> list[Moment]:
        """When some of them may have their turn, in some cell."""
        found = []
        for i, one in enumerate(self.nodes):
            where = one.where.copy()
            for axis in self._asked:
                layers = tuple(axis.proto.layers.values)
                if layers and i in self._set_by(axis):
                    where["layer"] = layers
            found += self._end(i, where).moments
        return found

    def sweep(self, keep: Callable[[Moment], bool]) -> None:
        """Fixes the axes. An axis of all layers has those whose moments are kept."""

        def every(selector: str, axis: Axis) -> Sequence[int]:
            if selector == "head":
                return range(self._info.config.n_head)
            return self._lengths(axis) if selector == "position" else self._layers(axis, keep)

        for axis in self._asked:
            self._set_by(axis)
        kinds = tuple(SELECTORS)
        self._axes = cell_axes(self._asked, kinds, every, self._prompts, self._over, self._prefix)

    def at(self, coordinates: Sequence[int]) -> list[End]:
        """All of them in one cell."""
        found = []
        for i, one in enumerate(self.nodes):
            what = f"{self.arguments[i]}: {one}"
            found.append(self._end(i, placed(self._axes, coordinates, i, one.where, what)))
        return found

    def _end(self, index: int, where: Where) -> End:
        """One of them. `where`: its selectors, with what axes set."""
        site, depth, layer = self._sites[index], self._info.config.n_layer, where.get("layer")
        others = where.copy()
        others.pop("layer", None)
        is_named = layer is not None and layer != slice(None)
        layers: Sequence[int] = range(depth) if site in _TURNS else ()
        if is_named:
            given = index_list(layer, "layer")  # type: ignore[arg-type]
            layers = [one + depth if -depth <= one < 0 else one for one in given]
        node, argument = self.nodes[index], self.arguments[index]
        return End(node, argument, site, others, tuple(layers), is_named, depth)

    def _set_by(self, axis: Axis) -> Sequence[int]:
        """The nodes that an axis sets, by index."""
        count = len(self.nodes)
        of = tuple(axis.proto.interventions) or range(count)
        if not all(0 <= index < count for index in of):
            raise ValueError(f"{self._over}: {axis} is of one that there is not; there are {count}")
        return of

    def _lengths(self, axis: Axis) -> range:
        lengths = {len(prompt) for prompt in self._prompts}
        if len(lengths) > 1:
            several = f"{axis} of prompts of {sorted(lengths)} tokens"
            raise ValueError(f"{self._over}: {several}; name the positions")
        return range(lengths.pop())

    def _layers(self, axis: Axis, keep: Callable[[Moment], bool]) -> list[int]:
        """Those in which all that the axis sets have a moment that is kept."""
        ends = [self._end(i, {}).within(keep) for i in self._set_by(axis)]
        return sorted(set.intersection(*(set(end.layers) if end else set() for end in ends)))


def _site(one: Node, argument: str, allowed: Sequence[str], info: ModelInfo) -> str:
    """The site's own name."""
    known = info.sites.values()
    site = next((s.name for s in known if one.site in (s.name, *s.aliases)), one.site)
    if site not in allowed:
        role, act = ("sender", "write into") if allowed is SENDERS else ("receiver", "read from")
        raise ValueError(
            f"{argument}: {one} is no {role}; what can {act} the residual stream is "
            f"{', '.join(allowed)}, with a layer as layer=9"
        )
    return site


def between(site: str, first: Moment, last: Moment, depth: int) -> list[int]:
    """The layers in which a site has its turn after one moment and before another."""
    return [layer for layer in range(depth) if first < (layer, _TURNS[site]) < last]
