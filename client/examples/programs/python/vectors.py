"""Checks the assembly of tensors against the streams in proto/vectors."""

import pathlib
import sys
from collections.abc import Iterator

from scalpel.v1 import run_pb2
from tensors import Assembler, BrokenStream


def check(folder: pathlib.Path) -> None:
    """Prints each stream's lines; exits if one differs from what its .txt file says."""
    streams = sorted(folder.glob("*.bin"))
    if not streams:
        sys.exit(f"{folder}: there are no streams")
    for stream in streams:
        lines = assemble(stream.read_bytes())
        print(f"stream {stream.stem}", *lines, sep="\n")
        if lines != stream.with_suffix(".txt").read_text().splitlines():
            sys.exit(f"{stream}: this is not what the .txt file says")
    print(f"{len(streams)} streams agree")


def assemble(data: bytes) -> list[str]:
    assembler, lines = Assembler(), []
    try:
        for response in delimited(data):
            if response.WhichOneof("event") == "tensor_chunk":
                line = assembler.add(response.tensor_chunk)
                lines += [line] if line else []
        assembler.finish()
    except BrokenStream as broken:
        print(broken, file=sys.stderr)
        lines.append("broken")
    return lines


def delimited(data: bytes) -> Iterator[run_pb2.RunResponse]:
    """Messages that each follow their length as a varint."""
    position = 0
    while position < len(data):
        size = shift = 0
        more = True
        while more:
            size |= (data[position] & 0x7F) << shift
            more = data[position] >= 0x80
            shift += 7
            position += 1
        yield run_pb2.RunResponse.FromString(data[position : position + size])
        position += size
