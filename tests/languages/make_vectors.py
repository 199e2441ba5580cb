"""Writes proto/vectors: response streams, sound and broken, and what a client must make of them.

The lines come from the numbers that the streams are made of, not from any assembly. Run from the
repository's root as `python -m tests.languages.make_vectors`.
"""

import pathlib

import numpy as np

from tests.support import environment

environment.import_stubs()

from scalpel.v1 import observation_pb2, run_pb2, site_pb2, tensor_pb2  # noqa: E402
from tests.languages import reference  # noqa: E402

FOLDER = environment.PROTO / "vectors"
# RunResponse's field 15, which no version has: an event that a client is to skip.
LATER_EVENT = bytes([15 << 3 | 2, 2, 8, 1])
HUGE_BYTES = 1 << 50
FLOAT32, FLOAT16 = tensor_pb2.DATA_TYPE_FLOAT32, tensor_pb2.DATA_TYPE_FLOAT16
BFLOAT16, UNSPECIFIED = tensor_pb2.DATA_TYPE_BFLOAT16, tensor_pb2.DATA_TYPE_UNSPECIFIED


class Tensor:
    """A tensor, its chunks of `chunk_bytes` each, and its line."""

    def __init__(self, tensor_id, name, dtype, shape, words, chunk_bytes, clean=False):
        data = words.tobytes()
        header = tensor_pb2.TensorHeader(
            tensor_id=tensor_id,
            kind=tensor_pb2.TENSOR_KIND_CAPTURE,
            name=name,
            site=site_pb2.SITE_RESID_POST,
            layer=0,
            prompts=[0],
            clean=clean,
            dtype=dtype,
            shape=shape,
            size_bytes=len(data),
        )
        chunks = [
            tensor_pb2.TensorChunk(
                tensor_id=tensor_id, offset=offset, data=data[offset : offset + chunk_bytes]
            )
            for offset in range(0, len(data), chunk_bytes)
        ]
        chunks[0].header.CopyFrom(header)
        self.id = tensor_id
        self.values = _as_float32(words, dtype)
        self.line = reference.tensor_line(header, len(chunks), self.values)
        self.responses = [run_pb2.RunResponse(tensor_chunk=chunk) for chunk in chunks]


def write_all(folder: pathlib.Path) -> None:
    tensors = _tensors()
    for tensor in tensors:
        (folder / f"tensors.{tensor.id}.f32").write_bytes(tensor.values.tobytes())
    _write(folder, "tensors", _stream(tensors), [tensor.line for tensor in tensors])
    for name, change in BROKEN.items():
        sound, victim = _three_numbers(0, 12), _three_numbers(1, 4)
        _write(folder, name, sound.responses + change(victim.responses), [sound.line, "broken"])


def _write(folder, name, responses, lines) -> None:
    messages = [response.SerializeToString(deterministic=True) for response in responses]
    data = b"".join(_varint(len(message)) + message for message in messages)
    (folder / f"{name}.bin").write_bytes(data)
    (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def _stream(tensors: list[Tensor]) -> list[run_pb2.RunResponse]:
    """A whole run; between the tensors, events that are none of theirs."""
    statistics = run_pb2.LayerStatistics(layer=0, results=[observation_pb2.ProbeResult(name="std")])
    between = [
        run_pb2.RunResponse(layer_statistics=statistics),
        run_pb2.RunResponse.FromString(LATER_EVENT),
    ]
    started = run_pb2.RunResponse(started=run_pb2.Started(request_id="vectors"))
    finished = run_pb2.RunResponse(finished=run_pb2.Finished(compute_us=1))
    middle = [response for tensor in tensors for response in tensor.responses + between]
    return [started, *middle, finished]


def _tensors() -> list[Tensor]:
    # Zeros, subnormals, normals, the largest, infinities, NaN.
    halves = [0, 0x8000, 1, 0x83FF, 0x0400, 0x3C00, 0xBC01, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]
    uppers = [0, 0x8000, 1, 0x807F, 0x0080, 0x3F80, 0xBF81, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0]
    whole = [upper << 16 for upper in uppers] + [1, 0x3EAAAAAB, 0x7F7FFFFF, 0xC2F6E979, 0x4B800001]
    # Numbers in [-1, 1) from a multiplicative hash: the same with any numpy.
    numbers = np.arange(64 * 33) * 2654435761 % 2**32 / 2**31 - 1
    return [
        Tensor(0, "words", FLOAT32, [2, 4, 2], np.array(whole, "<u4"), 7),
        Tensor(1, "halves", FLOAT16, [11], np.array(halves, "<u2"), 5),
        Tensor(2, "uppers", BFLOAT16, [1, 11, 1], np.array(uppers, "<u2"), 22),
        Tensor(3, "one", UNSPECIFIED, [1], np.array([2.5], "<f4"), 4),
        Tensor(4, "matrix", FLOAT32, [64, 33], numbers.astype("<f4"), 1000, clean=True),
        Tensor(5, "half matrix", FLOAT16, [3, 50], numbers[:150].astype("<f2"), 299),
    ]


def _three_numbers(tensor_id: int, chunk_bytes: int) -> Tensor:
    words = np.array([1.5, -2.25, 3.125], "<f4")
    return Tensor(tensor_id, f"tensor{tensor_id}", FLOAT32, [3], words, chunk_bytes)


# ---- what can go wrong -------------------------------------------------------------------------


def _header(chunks, **fields):
    """The chunks, with other fields in their header."""
    header = chunks[0].tensor_chunk.header
    if "shape" in fields:
        del header.shape[:]
    header.MergeFrom(tensor_pb2.TensorHeader(**fields))
    return chunks


def _no_header(chunks):
    chunks[0].tensor_chunk.ClearField("header")
    return chunks


def _second_header(chunks):
    chunks[1].tensor_chunk.header.CopyFrom(chunks[0].tensor_chunk.header)
    return chunks


def _repeated(chunks):
    for response in chunks:
        response.tensor_chunk.tensor_id = 0
    chunks[0].tensor_chunk.header.tensor_id = 0
    return chunks


def _too_long(chunks):
    chunks[-1].tensor_chunk.data += b"\0"
    return chunks


def _empty(chunks):
    header = tensor_pb2.TensorHeader(tensor_id=1, name="tensor1", dtype=FLOAT32, shape=[3, 0])
    chunk = tensor_pb2.TensorChunk(header=header, tensor_id=1)
    return [run_pb2.RunResponse(tensor_chunk=chunk)]


BROKEN = {
    "cut": lambda chunks: chunks[:-1],
    "empty": _empty,
    "gap": lambda chunks: chunks[:1] + chunks[2:],
    "huge": lambda chunks: _header(chunks[:1], shape=[HUGE_BYTES // 4], size_bytes=HUGE_BYTES),
    "interleaved": lambda chunks: chunks[:1] + _three_numbers(2, 12).responses + chunks[1:],
    "no-header": _no_header,
    "overlap": lambda chunks: chunks[:2] + chunks[1:],
    "repeated": _repeated,
    "second-header": _second_header,
    "too-long": _too_long,
    "unknown-type": lambda chunks: _header(chunks, dtype=9),
    "wrong-size": lambda chunks: _header(chunks, shape=[4]),
}


# ---- bytes -------------------------------------------------------------------------------------


def _as_float32(words: np.ndarray, dtype: int) -> np.ndarray:
    if dtype == BFLOAT16:
        return (words.astype("<u4") << 16).view("<f4")
    return words.view("<f2" if dtype == FLOAT16 else "<f4").astype("<f4")


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


if __name__ == "__main__":
    write_all(FOLDER)
