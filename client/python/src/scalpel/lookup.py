"""Finds results by what the caller wrote: the name that was given, the site as it was written in
the request, or the site's own name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalpel.tensors import site_name


class Names:
    """The probes or captures of one request, by every name that they go by."""

    def __init__(self, asked: Sequence[Any], normalized: Sequence[Any]):
        """`asked` as the caller sent them, `normalized` as the server understood them."""
        self._known = [
            (full.name, sent.place.path, site_name(full.place.site))
            for sent, full in zip(asked, normalized)
        ]

    def find(self, wanted: str) -> set[int]:
        """Indices of those that go by `wanted`: by name, else as written, else by site."""
        for level in range(3):
            found = {i for i, names in enumerate(self._known) if names[level] == wanted}
            if found:
                return found
        known = ", ".join(repr(names[0]) for names in self._known) or "none"
        raise LookupError(f"nothing here is called {wanted!r}; there is: {known}")

    def names(self, wanted: str) -> set[str]:
        """Full names of those that go by `wanted`."""
        return {self._known[i][0] for i in self.find(wanted)}


def by_layer(found: Sequence[Any], what: str) -> list[Any]:
    """Sorted by layer; one for each."""
    layers = [one.layer for one in found]
    if not found:
        raise LookupError(f"there is no {what}")
    if len(set(layers)) != len(layers):
        raise LookupError(f"there is more than one {what}; give its full name")
    return sorted(found, key=lambda one: -1 if one.layer is None else one.layer)


def stack(arrays: Sequence[Any]) -> Any:
    """One array as it is; several along a new first axis."""
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)
