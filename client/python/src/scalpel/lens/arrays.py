"""Arrays in and out: torch tensors where torch is installed, else numpy arrays.

TransformerLens gives torch tensors, and what is written for it calls their methods. So where torch
is installed, tensors come back, in the CPU's memory; elsewhere numpy arrays of the same shapes and
types. `connect(arrays=...)` asks for one of the two. What goes in may be either.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

# A torch tensor or a numpy array.
Array = Any
# Which of them a model gives; None: torch where it is installed.
Kind = Literal["torch", "numpy"]


class Maker:
    """Makes what a caller gets of numpy arrays."""

    def __init__(self, kind: Kind | None):
        if kind is None:
            kind = "torch" if importlib.util.find_spec("torch") else "numpy"
        if kind not in ("torch", "numpy"):
            raise ValueError(f"arrays: {kind!r} is neither 'torch' nor 'numpy'")
        self.kind: Kind = kind
        self._from_numpy: Callable[[Array], Array] | None = None
        if kind == "torch":
            import torch

            self._from_numpy = torch.from_numpy

    def __call__(self, array: Array) -> Array:
        """Shares the memory where it can be written."""
        array = np.asarray(array)
        if self._from_numpy is None:
            return array
        return self._from_numpy(array if array.flags.writeable else array.copy())


def to_numpy(values: Any) -> Array:
    """A tensor of any device, an array, a number, or a list of them, as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        return values.numpy()
    if isinstance(values, (list, tuple)) and any(hasattr(one, "detach") for one in values):
        return np.array([to_numpy(one) for one in values])
    return np.asarray(values)
