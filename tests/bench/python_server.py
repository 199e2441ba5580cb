"""What a server around transformers looks like in Python: grpcio, a pool of threads, a lock around
the model, and Scalpel's own messages, so that one client asks both. It knows the edits of the
benchmark only.

Run as `python -m tests.bench.python_server MODEL THREADS`; it says its port on standard output.
"""

import concurrent.futures
import itertools
import pathlib
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import torch

from tests.support import environment

environment.import_stubs()

from scalpel.v1 import run_pb2, service_pb2_grpc, tensor_pb2  # noqa: E402
from tests.bench.peers.hooks import Hooks  # noqa: E402
from tests.bench.questions import Question, Work  # noqa: E402
from tests.bench.requests import edit_of  # noqa: E402

CHUNK_BYTES = 1 << 20
Responses = Iterator[run_pb2.RunResponse]


class Service(service_pb2_grpc.InterventionServiceServicer):
    def __init__(self, folder: pathlib.Path):
        # Attention weights come from the eager implementation only.
        self.models = {
            states: Hooks("", "", folder, "eager" if states else "sdpa") for states in (False, True)
        }
        self.lock = threading.Lock()

    def Run(self, request: run_pb2.RunRequest, context) -> Responses:
        arrived = time.perf_counter()
        states = request.output_hidden_states
        edit = edit_of(request.interventions[0]) if request.interventions else None
        question = Question(tuple(request.prompts[0].token_ids.ids), edit)
        work = Work("states" if states else "top", (question,), (0,))
        with self.lock:
            begin = time.perf_counter()
            self.models[states].prepare(work)
            [reply] = self.models[states].run(work)
            end = time.perf_counter()
        yield run_pb2.RunResponse(started=run_pb2.Started())
        sent = 0
        for response in _tensors(request, reply):
            sent += len(response.tensor_chunk.data)
            yield response
        if not request.logits.HasField("full"):
            yield _largest(reply.logits[-1], len(question.tokens) - 1)
        finished = run_pb2.Finished(
            queue_us=int((begin - arrived) * 1e6),
            compute_us=int((end - begin) * 1e6),
            tensor_bytes=sent,
        )
        yield run_pb2.RunResponse(finished=finished)


def _largest(logits: torch.Tensor, position: int) -> run_pb2.RunResponse:
    values, ids = logits.topk(10)
    response = run_pb2.RunResponse()
    at = response.logits.positions.add(position=position)
    log_sum = logits.logsumexp(0)
    for token, value in zip(ids.tolist(), values.tolist(), strict=True):
        at.tokens.add(token_id=token, logit=value, log_prob=value - float(log_sum))
    return response


def _tensors(request: run_pb2.RunRequest, reply) -> Responses:
    """Every tensor that was asked for, in chunks."""
    ids = itertools.count()
    if request.output_hidden_states:
        for index, state in enumerate(reply.numbers["hidden_states"]):
            kind = tensor_pb2.TENSOR_KIND_HIDDEN_STATES
            yield from _chunks(next(ids), state[None], kind=kind, prompts=[0], index=index)
        for layer, weights in enumerate(reply.numbers["attentions"]):
            facts = dict(kind=tensor_pb2.TENSOR_KIND_CAPTURE, name=request.captures[0].name)
            yield from _chunks(next(ids), weights, **facts, prompts=[0], layer=layer)
    if request.logits.HasField("full"):
        kind = tensor_pb2.TENSOR_KIND_LOGITS
        yield from _chunks(next(ids), reply.logits, kind=kind, prompts=[0])


def _chunks(tensor_id: int, value: torch.Tensor, **facts) -> Responses:
    data = value.contiguous().numpy().reshape(-1).view("u1").data
    header = tensor_pb2.TensorHeader(
        tensor_id=tensor_id,
        dtype=tensor_pb2.DATA_TYPE_FLOAT32,
        shape=value.shape,
        size_bytes=len(data),
        **facts,
    )
    for offset in range(0, len(data), CHUNK_BYTES):
        chunk = tensor_pb2.TensorChunk(
            tensor_id=tensor_id, offset=offset, data=bytes(data[offset : offset + CHUNK_BYTES])
        )
        if offset == 0:
            chunk.header.CopyFrom(header)
        yield run_pb2.RunResponse(tensor_chunk=chunk)


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64))
    service_pb2_grpc.add_InterventionServiceServicer_to_server(
        Service(pathlib.Path(sys.argv[1])), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
