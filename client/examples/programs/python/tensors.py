"""Puts the tensors of a response stream together."""

import hashlib

import numpy as np

from scalpel.v1 import tensor_pb2

ELEMENT_TYPES = {
    tensor_pb2.DATA_TYPE_UNSPECIFIED: "<f4",  # by the contract: float32
    tensor_pb2.DATA_TYPE_FLOAT32: "<f4",
    tensor_pb2.DATA_TYPE_FLOAT16: "<f2",
    tensor_pb2.DATA_TYPE_BFLOAT16: "<u2",  # the upper half of a float32
}


class BrokenStream(Exception):
    """The chunks do not follow the contract."""


class Assembler:
    """Takes chunks in the order in which they come; gives a tensor's line when it is complete."""

    def __init__(self):
        self.begun = 0
        self.header = None
        self.chunks = 0
        self.data = bytearray()

    def add(self, chunk: tensor_pb2.TensorChunk) -> str | None:
        if chunk.HasField("header"):
            self._begin(chunk.header)
        if self.header is None or chunk.tensor_id != self.header.tensor_id:
            raise BrokenStream(f"a chunk of tensor {chunk.tensor_id}, which has not begun")
        if chunk.offset != len(self.data):
            raise BrokenStream(f"a chunk at byte {chunk.offset}, not at {len(self.data)}")
        # Grows with what has arrived, not with what a header promises.
        self.data += chunk.data
        self.chunks += 1
        if len(self.data) > self.header.size_bytes:
            raise BrokenStream(f"more data than {self.header.size_bytes} bytes")
        if len(self.data) < self.header.size_bytes:
            return None
        line = describe(self.header, self.chunks, decode(self.header, self.data))
        self.header = None
        return line

    def finish(self) -> None:
        if self.header is not None:
            raise BrokenStream(f"the stream ended inside tensor {self.header.tensor_id}")

    def _begin(self, header: tensor_pb2.TensorHeader) -> None:
        if self.header is not None or header.tensor_id != self.begun:
            raise BrokenStream(f"tensor {header.tensor_id} begins where it must not")
        if header.dtype not in ELEMENT_TYPES:
            raise BrokenStream(f"an element type that is not known: {header.dtype}")
        size = np.dtype(ELEMENT_TYPES[header.dtype]).itemsize
        for length in header.shape:
            size *= length
        if size < 1 or size != header.size_bytes:
            raise BrokenStream(f"{header.size_bytes} bytes, where type and shape make {size}")
        self.begun += 1
        self.header, self.chunks, self.data = header, 0, bytearray()


def decode(header: tensor_pb2.TensorHeader, data: bytes) -> np.ndarray:
    elements = np.frombuffer(bytes(data), ELEMENT_TYPES[header.dtype])
    if header.dtype == tensor_pb2.DATA_TYPE_BFLOAT16:
        elements = (elements.astype("<u4") << 16).view("<f4")
    return elements.astype("<f4").reshape(header.shape)


def describe(header: tensor_pb2.TensorHeader, chunks: int, array: np.ndarray) -> str:
    run = "clean" if header.clean else "edited"
    dtype = header.dtype or tensor_pb2.DATA_TYPE_FLOAT32
    dtype = tensor_pb2.DataType.Name(dtype).removeprefix("DATA_TYPE_").lower()
    shape = "x".join(map(str, array.shape))
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"tensor {header.name} {run} {dtype} {shape} chunks {chunks} sha256 {digest}"
