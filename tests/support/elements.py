"""The elements of tensors on the wire."""

import numpy as np

from tests.support import environment

environment.import_stubs()

from scalpel.v1 import tensor_pb2  # noqa: E402

ELEMENT_BYTES = {
    tensor_pb2.DATA_TYPE_FLOAT32: 4,
    tensor_pb2.DATA_TYPE_FLOAT16: 2,
    tensor_pb2.DATA_TYPE_BFLOAT16: 2,
}


def decode_tensor(dtype: int, shape: list[int], data: bytes) -> np.ndarray:
    """Bytes of the wire as an array; bfloat16 widened to float32, which holds it exactly."""
    if dtype == tensor_pb2.DATA_TYPE_BFLOAT16:
        halves = np.frombuffer(data, dtype="<u2").astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(shape)
    elements: dict[int, str] = {
        tensor_pb2.DATA_TYPE_FLOAT32: "<f4",
        tensor_pb2.DATA_TYPE_FLOAT16: "<f2",
    }
    element = elements[dtype]
    return np.frombuffer(data, dtype=element).reshape(shape)
