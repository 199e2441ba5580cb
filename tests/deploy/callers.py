"""Callers of the edge: one complete run of a prompt each, alone or many at a time."""

import dataclasses
import threading
import time

import grpc

from tests.support.client import model_pb2, run_pb2, service_pb2_grpc


def run(channel: grpc.Channel, prompt: str, affinity: str | None, token: str = "") -> None:
    """One complete run of a prompt: its server keeps it."""
    request = run_pb2.RunRequest(prompts=[{"text": prompt}])
    metadata = [("x-scalpel-affinity", affinity)] if affinity else []
    if token:
        metadata.append(("authorization", f"Bearer {token}"))
    stub = service_pb2_grpc.InterventionServiceStub(channel)
    events = list(stub.Run(request, metadata=metadata, timeout=60))
    assert events[-1].HasField("finished")


def cache_of(server) -> model_pb2.BaselineCache:
    with grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        return stub.GetModel(model_pb2.GetModelRequest(), timeout=20).baseline_cache


@dataclasses.dataclass
class Callers:
    """Four callers that run prompts over and over, each over a connection of its own, until the
    block ends. A call that fails is repeated once, half a second later, as clients do."""

    edge: object
    prompts: list[str]
    completed: int = 0
    failures: list[grpc.StatusCode] = dataclasses.field(default_factory=list)
    lost: list[grpc.StatusCode] = dataclasses.field(default_factory=list)

    def __enter__(self) -> "Callers":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def _call(self, number: int) -> None:
        with self.edge.channel() as channel:
            while not self._stop.is_set():
                for prompt in self.prompts[number::4]:
                    self._run_with_one_repeat(channel, prompt)

    def _run_with_one_repeat(self, channel: grpc.Channel, prompt: str) -> None:
        for errors in (self.failures, self.lost):
            try:
                run(channel, prompt, affinity=prompt)
                self.completed += 1
                return
            except grpc.RpcError as error:
                errors.append(error.code())
                time.sleep(0.5)
