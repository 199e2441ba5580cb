"""Tensors: arrays into a request, and chunks of a stream into arrays.

The contract has float32, float16 and bfloat16, which numpy has not. Bytes are kept as they came; a
bfloat16 tensor becomes float32 for numpy, which holds it exactly, and stays bfloat16 for torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import errors, indices
from scalpel.indices import Along
from scalpel.spec import enum_name, enum_value
from scalpel.v1 import place_pb2, site_pb2, tensor_pb2

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    import xarray

# How each type lies in memory; bfloat16 by its bits.
_STORED: dict[int, np.dtype[Any]] = {
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DATA_TYPE_BFLOAT16: np.dtype("<u2"),
}
_BATCHED_AXES: dict[int, tuple[str, ...]] = {
    tensor_pb2.TENSOR_KIND_BLOCK_HIDDEN_STATES: ("batch", "position", "unit"),
    tensor_pb2.TENSOR_KIND_BLOCK_ATTENTIONS: ("batch", "head", "query", "key"),
    tensor_pb2.TENSOR_KIND_HIDDEN_STATES: ("batch", "position", "unit"),
    tensor_pb2.TENSOR_KIND_LOGITS: ("position", "unit"),
}


# Of full logits, whose units are all there.
_SOME_POSITIONS = place_pb2.Selection(positions=place_pb2.Positions())


def dtype_of(dtype: Any, argument: str = "dtype") -> tensor_pb2.DataType:
    """A type by name (`"float16"`), or numpy's or torch's object for it."""
    if isinstance(dtype, type) and issubclass(dtype, np.generic):
        dtype = np.dtype(dtype)
    name = str(dtype).rpartition(".")[2]
    number = enum_value(tensor_pb2.DataType, "DATA_TYPE_", name, argument)
    return number  # type: ignore[return-value]


def tensor_of(values: Any, argument: str) -> tensor_pb2.Tensor:
    """A numpy array, torch tensor or nested list for a request: float16 and torch's bfloat16 go as
    they are, everything else as float32."""
    if type(values).__module__.partition(".")[0] == "torch":
        return _tensor_of_torch(values)
    try:
        array = np.asarray(values)
        if array.dtype != np.float16:
            with np.errstate(over="ignore"):  # An infinity is refused by the server, by name.
                array = array.astype("<f4")
    except (TypeError, ValueError):
        raise TypeError(f"{argument}: not an array of numbers: {type(values).__name__}") from None
    halves = array.dtype == np.float16
    dtype = tensor_pb2.DATA_TYPE_FLOAT16 if halves else tensor_pb2.DATA_TYPE_FLOAT32
    data = array.astype(_STORED[dtype], copy=False).tobytes()
    return tensor_pb2.Tensor(dtype=dtype, shape=array.shape, data=data)


def _tensor_of_torch(values: Any) -> tensor_pb2.Tensor:
    import torch

    values = values.detach().cpu()
    if values.dtype != torch.bfloat16:
        array: Any = values.numpy()
        return tensor_of(array, "")
    bits = values.contiguous().view(torch.int16).numpy()
    shape, data = tuple(values.shape), bits.astype("<i2", copy=False).tobytes()
    return tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_BFLOAT16, shape=shape, data=data)


def site_name(site: int) -> str:
    """`resid_post` for SITE_RESID_POST."""
    return enum_name(site_pb2.Site, "SITE_", site)


def site_axes(site: int) -> tuple[str, ...]:
    """Names of a site's axes, in order, such as `("position", "head", "unit")`; none for a site
    that this client does not know."""
    value = site_pb2.Site.DESCRIPTOR.values_by_number.get(site)
    if value is None:
        return ()
    facts: Any = value.GetOptions().Extensions[site_pb2.site]  # type: ignore[index]
    return indices.axis_names(facts.axes)


@dataclasses.dataclass(frozen=True, repr=False)
class Tensor:
    """A tensor of an answer, with what it is. Immutable, but for the array's elements.

    `numpy.asarray(tensor)` is `tensor.numpy()`.
    """

    name: str
    """The capture's name; for every other kind a readable one, such as `block_outputs[9][0]`."""
    kind: str
    """`capture`, `block_hidden_states`, `block_attentions`, `hidden_states` or `logits`."""
    site: str
    """Where it was read, such as `resid_post`."""
    layer: int | None
    """The block, or None at a site without layers."""
    index: int | None
    """Of `hidden_states`: the entry, 0 (embeddings) to n_layer (after the last LayerNorm)."""
    prompts: tuple[int, ...]
    """The prompts along the batch axis; exactly one where there is no batch axis."""
    clean: bool
    """Whether this is of the clean run."""
    when: str
    """`before` or `after` the interventions at its place; for captures."""
    dtype: str
    """`float32`, `float16` or `bfloat16`."""
    axes: tuple[str, ...]
    """Names of the axes: of `batch`, `position`, `head`, `query`, `key`, `unit`."""
    indices: tuple[Along, ...]
    """For each axis the model's own indices along it, in order, such as `(3, 7)` for heads 3 and 7;
    of `batch` the prompts. None where an older server sent a part and did not say of what."""
    stored: npt.NDArray[Any] = dataclasses.field(compare=False)
    """The elements as they came, in their shape; bfloat16 as the bits, uint16."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.stored.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(self.stored.nbytes)

    def numpy(self) -> npt.NDArray[Any]:
        """A numpy array: float32 or float16 without a copy; bfloat16 widened to float32."""
        if self.dtype != "bfloat16":
            return self.stored
        return (self.stored.astype(np.uint32) << 16).view(np.float32)

    def torch(self) -> torch.Tensor:
        """A torch tensor of the same type that shares the memory. Needs torch."""
        import torch

        if self.dtype == "bfloat16":
            return torch.from_numpy(self.stored.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(self.stored)

    def to_xarray(self) -> xarray.DataArray:
        """A DataArray with named axes, and the model's own indices as their coordinates. Needs
        xarray."""
        import xarray

        coords = indices.coordinates(self.axes, self.indices)
        return xarray.DataArray(
            self.numpy(), dims=self.axes, coords=coords, name=self.name,
            attrs={"site": self.site, "layer": self.layer, "clean": self.clean},
        )  # fmt: skip

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.numpy()
        if dtype is not None:
            array = array.astype(dtype, copy=False)
        return array.copy() if copy else array

    def __repr__(self) -> str:
        layer = "" if self.layer is None else f", layer {self.layer}"
        clean = ", clean" if self.clean else ""
        prompts = ", ".join(map(str, self.prompts))
        return (
            f"<Tensor {self.name!r}{layer}, prompt {prompts}{clean}: "
            f"{self.dtype} {dict(zip(self.axes, self.shape, strict=True))}>"
        )


class TensorAssembler:
    """Puts the chunks of one stream together, in order. Memory is taken once for each tensor, and
    only as much as the whole answer may have."""

    def __init__(self, bytes_max: int, selections: Mapping[str, place_pb2.Selection] | None = None):
        """`selections`: what was selected, by the name of the capture."""
        self._bytes_left = bytes_max
        self._selections = selections or {}
        self._seen: set[int] = set()
        self._header: tensor_pb2.TensorHeader | None = None
        self._buffer = np.empty(0, np.uint8)
        self._filled = 0

    @property
    def is_open(self) -> bool:
        """Whether a tensor has begun and is not complete."""
        return self._header is not None

    def add(self, chunk: tensor_pb2.TensorChunk) -> tuple[int, Tensor] | None:
        """Takes a chunk; returns its tensor and the tensor's id when that is complete."""
        if self._header is None:
            self._begin(chunk)
        elif chunk.HasField("header"):
            raise self._broken(chunk, f"begins inside tensor {self._header.tensor_id}")
        header = self._header
        assert header is not None
        if chunk.tensor_id != header.tensor_id or chunk.offset != self._filled:
            raise self._broken(chunk, f"not byte {self._filled} of tensor {header.tensor_id}")
        end = self._filled + len(chunk.data)
        if not chunk.data or end > len(self._buffer):
            raise self._broken(chunk, "has no data, or more than its tensor")
        self._buffer[self._filled : end] = np.frombuffer(chunk.data, np.uint8)
        self._filled = end
        if end < len(self._buffer):
            return None
        self._header = None
        return header.tensor_id, _tensor(header, self._buffer, self._selections.get(header.name))

    def _begin(self, chunk: tensor_pb2.TensorChunk) -> None:
        header = chunk.header
        if not chunk.HasField("header") or header.tensor_id != chunk.tensor_id:
            raise self._broken(chunk, "does not begin with its header")
        if header.tensor_id in self._seen:
            raise self._broken(chunk, "was sent before")
        stored = _STORED.get(header.dtype)
        if stored is None or min(header.shape, default=1) < 1:
            raise self._broken(chunk, f"has type {header.dtype} and shape {list(header.shape)}")
        size = math.prod(header.shape) * stored.itemsize
        if size != header.size_bytes or size > self._bytes_left:
            raise self._broken(chunk, f"has {size} bytes; {header.size_bytes} were announced")
        self._bytes_left -= size
        self._seen.add(header.tensor_id)
        self._header, self._buffer, self._filled = header, np.empty(size, np.uint8), 0

    def _broken(self, chunk: tensor_pb2.TensorChunk, how: str) -> errors.ProtocolError:
        return errors.ProtocolError(f"tensor {chunk.tensor_id}, byte {chunk.offset}: {how}")


def _tensor(
    header: tensor_pb2.TensorHeader,
    data: npt.NDArray[np.uint8],
    where: place_pb2.Selection | None,
) -> Tensor:
    shape = tuple(header.shape)
    axes = _axes(header)
    return Tensor(
        name=header.name,
        kind=enum_name(tensor_pb2.TensorKind, "TENSOR_KIND_", header.kind),
        site=site_name(header.site),
        layer=header.layer if header.HasField("layer") else None,
        index=header.index if header.HasField("index") else None,
        prompts=tuple(header.prompts),
        clean=header.clean,
        when=moment_name(header.moment),
        dtype=enum_name(tensor_pb2.DataType, "DATA_TYPE_", header.dtype),
        axes=axes,
        indices=_indices(header, axes, where),
        stored=data.view(_STORED[header.dtype]).reshape(shape),
    )


def _axes(header: tensor_pb2.TensorHeader) -> tuple[str, ...]:
    """Names of the axes; numbers for a kind or site that is newer than this client."""
    axes = _BATCHED_AXES.get(header.kind)
    if axes is None:
        said = indices.axis_names(one.axis for one in header.axes)
        axes = said or site_axes(header.site)
    if len(axes) != len(header.shape):
        return tuple(f"axis{i}" for i in range(len(header.shape)))
    return axes


def _indices(
    header: tensor_pb2.TensorHeader, axes: tuple[str, ...], where: place_pb2.Selection | None
) -> tuple[Along, ...]:
    if axes[:1] == ("batch",):
        return (tuple(header.prompts), *(range(size) for size in header.shape[1:]))
    if header.kind == tensor_pb2.TENSOR_KIND_LOGITS:
        where = _SOME_POSITIONS
    return indices.along_axes(header.axes, axes, header.shape, where)


def moment_name(moment: int) -> str:
    """`before` or `after`, which is also what a moment left out means."""
    return "before" if moment == site_pb2.MOMENT_BEFORE else "after"
