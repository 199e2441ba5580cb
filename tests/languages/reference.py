"""What every program must print, from the tests' own client and grpcurl."""

import hashlib

import numpy as np

from scalpel.v1 import tensor_pb2
from tests.e2e import grpcurl
from tests.support.client import Client

TEXT = " ".join(["When Mary and John went to the store, John gave a drink to"] * 16)
SCALED = {"place": {"path": "blocks.9.hook_resid_post"}, "scale": {"factor": 0.1}}
WRONG = {"place": {"path": "resid_post", "where": {"layers": [1000]}}, "scale": {}}


def request(intervention: dict) -> dict:
    return {
        "prompts": [{"text": TEXT}],
        "interventions": [intervention],
        "probes": [{"place": {"path": "resid_post"}, "statistics": ["STATISTIC_STD"]}],
        "captures": [{"place": {"path": "blocks.10.attn.hook_pattern"}}],
        "logits": {"none": {}},
        "include_clean_run": True,
    }


def program_lines(address: str) -> list[str]:
    ends = ["deadline DEADLINE_EXCEEDED", "cancelled after started"]
    return _run_lines(address) + _refusal_lines(address) + ends


def _run_lines(address: str) -> list[str]:
    with Client(address) as client:
        result = client.run(request(SCALED))
    tensors, chunks, size = iter(result.tensors), 0, 0
    lines = [f"started {len(result.tokens[0])} tokens"]
    for event in result.events:
        if event.kind == "layer_statistics":
            std = {one.clean: one.statistics[0].values[0] for one in event.message.results}
            layer = event.message.layer
            lines.append(f"layer {layer} std clean {std[True]:.4f} edited {std[False]:.4f}")
        if event.kind == "tensor_chunk":
            chunks += 1
            size = event.message.header.size_bytes or size
            if event.message.offset + len(event.message.data) == size:
                tensor = next(tensors)
                lines.append(tensor_line(tensor.header, chunks, tensor.array))
                chunks = 0
    return lines


def tensor_line(header: tensor_pb2.TensorHeader, chunks: int, values: np.ndarray) -> str:
    run = "clean" if header.clean else "edited"
    dtype = tensor_pb2.DataType.Name(header.dtype or tensor_pb2.DATA_TYPE_FLOAT32)
    dtype = dtype.removeprefix("DATA_TYPE_").lower()
    shape = "x".join(str(length) for length in header.shape)
    digest = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
    return f"tensor {header.name} {run} {dtype} {shape} chunks {chunks} sha256 {digest}"


def _refusal_lines(address: str) -> list[str]:
    answer = grpcurl.call(address, "Run", request(WRONG))
    assert answer.code == 3, answer.stderr
    (bad_request,) = answer.details("BadRequest")
    violations = [
        f"violation {entry['field']}: {entry['description']}"
        for entry in bad_request["field_violations"]
    ]
    return ["refused INVALID_ARGUMENT", *violations]
