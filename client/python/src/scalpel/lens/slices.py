"""Which positions or prompts, as TransformerLens says it: an index, a tuple, or a list."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from scalpel.lens.arrays import Array, to_numpy


class Slice:
    """A part of one axis. `k` is one index, and its axis goes; `(stop,)`, `(start, stop)` and
    `(start, stop, step)` are ranges, as is a `slice`; a list or array picks indices; None leaves
    the axis as it is."""

    def __init__(self, given: Any = None):
        self.index: Any
        if given is None:
            self.index = slice(None)
        elif isinstance(given, slice):
            self.index = given
        elif isinstance(given, tuple):
            self.index = slice(*given)
        elif getattr(given, "ndim", 0) == 0 and hasattr(given, "__index__"):
            self.index = operator.index(given)
        else:
            self.index = to_numpy(given)
            if self.index.ndim != 1 or self.index.dtype.kind not in "iub":
                raise ValueError(f"slice: {given!r} is no index, tuple, or list of indices")

    @classmethod
    def of(cls, given: Any) -> Slice:
        """A slice as it is, or one of what it is made of."""
        return given if isinstance(given, Slice) else cls(given)

    @classmethod
    def keeping_axis(cls, given: Any) -> Slice:
        """The same, but one index leaves an axis of length 1, as `run_with_cache` has it."""
        made = cls.of(given)
        return cls([made.index]) if isinstance(made.index, int) else made

    def apply(self, array: Array, dim: int = 0) -> Array:
        """That part of a numpy array along an axis."""
        index: list[Any] = [slice(None)] * np.ndim(array)
        index[dim] = self.index
        return array[tuple(index)]

    def __repr__(self) -> str:
        return f"Slice({self.index!r})"
