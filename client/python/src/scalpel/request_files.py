"""Requests as files, in protobuf's JSON form: what `grpcurl` and `scalpel-cli` read too."""

from __future__ import annotations

import json
import os
import pathlib

from google.protobuf import json_format

from scalpel.v1 import generate_pb2, run_pb2, sweep_pb2

Request = run_pb2.RunRequest | sweep_pb2.SweepRequest | generate_pb2.GenerateRequest

# A sweep and a generation have at least one of these, and no other request has.
_ONLY_SWEEP = {"variants", "grid", "metrics", "sources", "reports"}
_ONLY_GENERATE = {"stop", "sampling", "continuations", "unsteered", "reuse_kv", "reuseKv"}


def load_request(path: str | os.PathLike[str]) -> Request:
    """Reads a RunRequest, or a SweepRequest or GenerateRequest where the file has what only these
    have. Raises ValueError (`google.protobuf.json_format.ParseError`) for a field that the contract
    lacks."""
    content = json.loads(pathlib.Path(path).read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a request is a JSON object")
    message: Request = run_pb2.RunRequest()
    if not _ONLY_SWEEP.isdisjoint(content):
        message = sweep_pb2.SweepRequest()
    elif not _ONLY_GENERATE.isdisjoint(content):
        message = generate_pb2.GenerateRequest()
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
