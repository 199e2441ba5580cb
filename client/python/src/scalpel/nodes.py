"""Nodes of the model's graph: what writes into the residual stream, and what reads from it
(Elhage et al. 2021). A path leads from one that writes to one that reads. These write:

z: attention heads.
attn_out: the attention of a layer, all its heads and its bias.
mlp_out: the MLP of a layer.
embed, pos_embed: the embeddings.

And these read:

q, k, v: queries, keys or values of attention heads.
ln1_in: the attention of a layer, for queries, keys and values of all its heads.
ln2_in: the MLP of a layer.
ln_f_in: the final LayerNorm, and behind it the logits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scalpel.place import Where, index_list, place_fields, place_of
from scalpel.spec import Spec, written
from scalpel.v1 import place_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from scalpel.info import ModelInfo

# When a node of a layer has its turn there: the attention reads, then writes, then the MLP does.
_TURNS = {
    "ln1_in": 0, "q": 0, "k": 0, "v": 0, "z": 1, "attn_out": 1, "ln2_in": 2, "mlp_out": 3,
}  # fmt: skip
_EMBEDDINGS = ("embed", "pos_embed")
SENDERS = ("z", "attn_out", "mlp_out", *_EMBEDDINGS)
RECEIVERS = ("q", "k", "v", "ln1_in", "ln2_in", "ln_f_in")

Moment = tuple[int, int]  # In the forward pass: the layer, and the turn within it.


@dataclasses.dataclass(frozen=True, repr=False)
class Node(Spec[place_pb2.Place]):
    """One node, or several of one kind: made by `node`."""

    site: str
    """As it was written."""
    where: Where
    """The selectors."""


# A node, or several.
Nodes = Node | Sequence[Node]


def node(site: str, **where: Unpack[Where]) -> Node:
    """An end of a path, for `model.path_patch`. A selector that selects several makes several nodes
    of one: `node("z", layer=9, head=[6, 9])`.

    >>> node("z", layer=9, head=9)                # What head 9 of layer 9 writes.
    >>> node("q", layer=10, head=7, position=-1)  # What its queries at the last position read.
    """
    if where.get("prompt") is not None:
        raise TypeError("prompt: a path is patched in every pair; leave out those that should not")
    call = written("node", site, **where)
    return Node(place_of(site, where), call, place_fields(where), site, where)


def nodes_of(nodes: Nodes, argument: str) -> list[Node]:
    """What a call takes as nodes, as a list."""
    several = [nodes] if isinstance(nodes, Node) else list(nodes)
    if not several:
        raise ValueError(f"{argument}: no node; write node('z', layer=9, head=9)")
    for one in several:
        if not isinstance(one, Node):
            raise TypeError(f"{argument}: {one!r} is no node; write node('z', layer=9, head=9)")
    return several


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


def end_of(one: Node, argument: str, allowed: Sequence[str], info: ModelInfo, where: Where) -> End:
    """A node in a model. `where`: its selectors, with what axes set. Raises ValueError for a site
    that is not among the `allowed`."""
    known = info.sites.values()
    site = next((s.name for s in known if one.site in (s.name, *s.aliases)), one.site)
    if site not in allowed:
        role, act = ("sender", "write into") if allowed is SENDERS else ("receiver", "read from")
        raise ValueError(
            f"{argument}: {one} is no {role}; what can {act} the residual stream is "
            f"{', '.join(allowed)}, with a layer as layer=9"
        )
    depth, layer = info.config.n_layer, where.get("layer")
    others = where.copy()
    others.pop("layer", None)
    layers: Sequence[int]
    if layer is None or layer == slice(None):
        layers = range(depth) if site in _TURNS else ()
    else:
        named = index_list(layer, "layer")
        layers = [one + depth if -depth <= one < 0 else one for one in named]
    return End(one, argument, site, others, tuple(layers), depth)


def between(site: str, first: Moment, last: Moment, depth: int) -> list[int]:
    """The layers in which a site has its turn after one moment and before another."""
    return [layer for layer in range(depth) if first < (layer, _TURNS[site]) < last]
