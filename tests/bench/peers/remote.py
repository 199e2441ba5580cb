"""A server of the Run method, asked over gRPC on the loopback interface: Scalpel, or transformers
behind Python's grpcio."""

import concurrent.futures
import dataclasses
import time

import grpc
import numpy as np

from scalpel.v1 import run_pb2, service_pb2_grpc, statistic_pb2
from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.questions import BOUNDARY_STATISTICS, Question, Work
from tests.bench.requests import run_request
from tests.parity.places import ModelShape
from tests.support.client import Event, RunResult

_CALL_SECONDS = 600
_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),  # each client has a connection of its own
]


@dataclasses.dataclass
class Call:
    """One call: what arrived and when, in seconds since it began."""

    responses: list[tuple[float, run_pb2.RunResponse]]
    seconds: float

    def result(self) -> RunResult:
        events = []
        for at, response in self.responses:
            kind = response.WhichOneof("event")
            events.append(Event(kind, getattr(response, kind), at))
        return RunResult(events)


class Remote(Contestant):
    def __init__(self, name: str, role: str, address: str, shape: ModelShape):
        super().__init__(name, role)
        self.address, self.shape = address, shape
        self.stubs: list[service_pb2_grpc.InterventionServiceStub] = []
        self.channels: list[grpc.Channel] = []

    def prepare(self, work: Work) -> None:
        """Connects as many clients as will ask."""
        while len(self.channels) < work.clients:
            channel = grpc.insecure_channel(self.address, options=_OPTIONS)
            grpc.channel_ready_future(channel).result(timeout=30)
            self.channels.append(channel)
            self.stubs.append(service_pb2_grpc.InterventionServiceStub(channel))

    def run(self, work: Work) -> list[list[Call]]:
        """The calls of each question."""
        if work.clients == 1:
            return [self._ask(self.stubs[0], question, work) for question in work.questions]
        with concurrent.futures.ThreadPoolExecutor(work.clients) as pool:
            shares = [work.questions[client :: work.clients] for client in range(work.clients)]
            answered = list(
                pool.map(
                    lambda stub, share: [self._ask(stub, question, work) for question in share],
                    self.stubs,
                    shares,
                )
            )
        replies: list[list[Call]] = [[]] * len(work.questions)
        for client, calls in enumerate(answered):
            replies[client :: work.clients] = calls
        return replies

    def answer(self, work: Work, replies: list[list[Call]]) -> Answer:
        results = [[call.result() for call in calls] for calls in replies]
        numbers = _numbers(self.shape, work, results)
        if work.full_logits:
            logits = np.stack([result.logits() for [result] in results])
            return Answer(work.index, logits, logits.argmax(-1), numbers=numbers)
        ids, logits = [], []
        for of_question in results:
            tokens = [result.top_tokens()[-1].tokens for result in of_question]
            ids.append([[token.token_id for token in step] for step in tokens])
            logits.append([[token.logit for token in step] for step in tokens])
        ids = np.array(ids)
        return Answer(work.index, np.array(logits), ids[..., 0], ids, numbers)

    def figures(self, work: Work, replies: list[list[Call]]) -> dict[str, list[float]]:
        calls = [call for calls in replies for call in calls]
        found = {"latency ms": [call.seconds * 1e3 for call in calls]}
        finished = [call.responses[-1][1].finished for call in calls]
        if work.clients == 1:
            found["call beyond queue and compute us"] = [
                call.seconds * 1e6 - end.queue_us - end.compute_us
                for call, end in zip(calls, finished, strict=True)
            ]
        if work.wants == "boundaries":
            found["first statistics % of call"] = [
                100 * _first_statistics(call) / call.seconds for call in calls
            ]
        if work.wants == "states":
            found["GB/s"] = [
                end.tensor_bytes / call.seconds / 1e9
                for call, end in zip(calls, finished, strict=True)
            ]
            found["GB/s beside compute"] = [
                end.tensor_bytes / max(call.seconds - end.compute_us / 1e6, 1e-6) / 1e9
                for call, end in zip(calls, finished, strict=True)
            ]
        return found

    def close(self) -> None:
        for channel in self.channels:
            channel.close()

    def _ask(self, stub, question: Question, work: Work) -> list[Call]:
        return [_call(stub, run_request(self.shape, question, work))]


def _call(stub, request: run_pb2.RunRequest) -> Call:
    begin = time.perf_counter()
    responses = [
        (time.perf_counter() - begin, response)
        for response in stub.Run(request, timeout=_CALL_SECONDS)
    ]
    return Call(responses, time.perf_counter() - begin)


def _first_statistics(call: Call) -> float:
    return next(at for at, response in call.responses if response.HasField("layer_statistics"))


def _numbers(shape: ModelShape, work: Work, results: list[list[RunResult]]) -> dict:
    if work.wants == "boundaries":
        return {
            name: np.array(
                [
                    [_boundary(result, shape, layer, name) for layer in range(shape.n_layer + 1)]
                    for [result] in results
                ]
            )
            for name in BOUNDARY_STATISTICS
        }
    if work.wants == "states":
        return {
            "hidden_states": np.stack([np.stack(r.hidden_states()) for [r] in results]),
            "attentions": np.stack(
                [
                    np.stack([r.capture("attentions", layer) for layer in range(shape.n_layer)])
                    for [r] in results
                ]
            ),
        }
    return {}


def _boundary(result: RunResult, shape: ModelShape, layer: int, name: str) -> float:
    """The probes are those that the request made: into each block, and out of the last."""
    index = 0 if layer < shape.n_layer else 1
    [probe] = [
        found
        for found in result.statistics
        if found.index == index and found.layer == min(layer, shape.n_layer - 1)
    ]
    wanted = statistic_pb2.Statistic.Value(f"STATISTIC_{name.upper()}")
    return next(entry.values[0] for entry in probe.statistics if entry.statistic == wanted)
