"""Requests as files, in protobuf's JSON form: what `grpcurl` and `scalpel-cli` read too."""

from __future__ import annotations

import json
import os
import pathlib

from google.protobuf import json_format

from scalpel.v1 import run_pb2, sweep_pb2

Request = run_pb2.RunRequest | sweep_pb2.SweepRequest

# A sweep has at least one of these, and a run none.
_ONLY_SWEEP = {"variants", "grid", "metrics", "sources", "reports"}


def load_request(path: str | os.PathLike[str]) -> Request:
    """Reads a RunRequest, or a SweepRequest where the file has what only a sweep has. Raises
    ValueError (`google.protobuf.json_format.ParseError`) for a field that the contract lacks."""
    content = json.loads(pathlib.Path(path).read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a request is a JSON object")
    is_sweep = not _ONLY_SWEEP.isdisjoint(content)
    message: Request = sweep_pb2.SweepRequest() if is_sweep else run_pb2.RunRequest()
    try:
        json_format.ParseDict(content, message)
    except json_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from error
    return message


def save_request(request: Request, path: str | os.PathLike[str]) -> None:
    """Writes a request for `load_request`, `grpcurl` and `scalpel-cli`: `result.request`, or
    `result.normalized` with every default filled in."""
    text = json_format.MessageToJson(request, preserving_proto_field_name=True)
    pathlib.Path(path).write_text(text + "\n", "utf-8")
