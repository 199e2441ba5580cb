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
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalpel.place import Where, place_fields, place_of
from scalpel.spec import Spec, written
from scalpel.v1 import place_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

SENDERS = ("z", "attn_out", "mlp_out", "embed", "pos_embed")
RECEIVERS = ("q", "k", "v", "ln1_in", "ln2_in", "ln_f_in")


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
