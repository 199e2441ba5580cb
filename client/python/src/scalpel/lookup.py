"""Finds results by what the caller wrote: the name that was given, the site as it was written in
the request, or the site's own name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalpel import indices
from scalpel.tensors import site_name


class Names:
    """The probes or captures of one request, by every name that they go by."""

    def __init__(self, asked: Sequence[Any], normalized: Sequence[Any]):
        """`asked` as the caller sent them, `normalized` as the server understood them."""
        self._known = [
            (full.name, sent.place.path, site_name(full.place.site))
            for sent, full in zip(asked, normalized, strict=True)
        ]
        self._layers = [
            (tuple(sent.place.where.layers), tuple(full.place.where.layers))
            for sent, full in zip(asked, normalized, strict=True)
        ]

    def find(self, wanted: str) -> set[int]:
        """Indices of those that go by `wanted`: by name, else as written, else by site."""
        for level in range(3):
            found = {i for i, names in enumerate(self._known) if names[level] == wanted}
            if found:
                return found
        known = ", ".join(repr(names[0]) for names in self._known) or "none"
        raise LookupError(f"nothing here is called {wanted!r}; there is: {known}")

    def layer(self, wanted: str, layer: int | None) -> int | None:
        """A layer as the model counts it: a negative one from the end, as in requests."""
        depths = (indices.depth(*self._layers[i]) for i in self.find(wanted))
        return layer_from_start(layer, next(filter(None, depths), None))

    def order(self, wanted: str) -> list[int]:
        """The layers of one place in the order asked; of several places, which have no order of
        their own, ascending."""
        found = self.find(wanted)
        layers = [layer for i in found for layer in self._layers[i][1]]
        return layers if len(found) == 1 else sorted(set(layers))

    def names(self, wanted: str) -> set[str]:
        """Full names of those that go by `wanted`."""
        return {self._known[i][0] for i in self.find(wanted)}


def layer_from_start(layer: int | None, depth: int | None) -> int | None:
    """A layer that may count from the end of `depth` of them. Raises LookupError where how many
    there are is not known."""
    if layer is None or layer >= 0:
        return layer
    if depth is None:
        raise LookupError(f"layer {layer}: say it as the model counts, from 0, as the request does")
    return layer + depth


def by_layer(found: Sequence[Any], what: str, order: Sequence[int]) -> list[Any]:
    """In the order of their layers; one for each."""
    layers = [one.layer for one in found]
    if not found:
        raise LookupError(f"there is no {what}")
    if len(set(layers)) != len(layers):
        raise LookupError(f"there is more than one {what}; give its full name")
    return sorted(found, key=lambda one: order.index(one.layer) if one.layer in order else -1)


def stack(arrays: Sequence[Any]) -> Any:
    """One array as it is; several along a new first axis."""
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)
