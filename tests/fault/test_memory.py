"""What large answers took goes back to the system when they have been read, or are abandoned."""

import time
from collections.abc import Callable

import pytest

from scalpel.v1 import server_status_pb2, sweep_pb2
from tests.fault.alive import Alive, rss_bytes
from tests.support.client import Client, make_request
from tests.support.server import Server

# jemalloc returns what was unused for three seconds, a part at a time.
RETURN_SECONDS = 20
# Beside what the cache of clean runs holds.
KEPT_BYTES_MAX = 32 << 20
# Of which an answer must take more, for its return to be seen.
TAKEN_BYTES_MIN = 3 * KEPT_BYTES_MAX


def ids(count: int, first: int) -> dict:
    return {"token_ids": {"ids": [first, *range(1, count)]}}


def large_sweep() -> sweep_pb2.SweepRequest:
    """Small objects without number: 1,728 variants, each with a thousand tokens and their names."""
    values = {"values": {"values": [number / 12 for number in range(12)]}}
    grid = {
        "interventions": [{"place": {"path": "z"}, "scale": {}}],
        "axes": [{"layers": {}}, {"heads": {}}, values],
    }
    sweep = {"prompts": [ids(4, 0)], "grid": grid, "metrics": [{"top_k": {"k": 1000}}]}
    return make_request(sweep, sweep_pb2.SweepRequest)


def large_run():
    """Large tensors: every attention pattern of long prompts."""
    prompts = [ids(250, number) for number in range(16)]
    return make_request({"prompts": prompts, "captures": [{"place": {"path": "pattern"}}]})


def begin(client: Client, request):
    """The call, once its first message is here."""
    sweep = isinstance(request, sweep_pb2.SweepRequest)
    call = (client.stub.Sweep if sweep else client.stub.Run)(request, timeout=300)
    next(call)
    return call


def engine(client: Client) -> server_status_pb2.EngineStatus:
    return client.stub.GetStatus(server_status_pb2.GetStatusRequest(), timeout=30).engine


def read(call) -> None:
    for _ in call:
        pass


def leave(call) -> None:
    call.cancel()


@pytest.mark.parametrize("end", [read, leave])
@pytest.mark.parametrize("make", [large_sweep, large_run])
def test_memory_of_a_large_answer_goes_back(make: Callable, end: Callable) -> None:
    """It waits for its reader until all of it is computed."""
    with Server("--baseline-cache-bytes", "0") as server, Client(server.address) as client:
        healthy = Alive(server, client)
        call = begin(client, make())
        while engine(client).running:
            time.sleep(0.1)
        taken = rss_bytes(server.pid) - healthy.rss
        assert taken > TAKEN_BYTES_MIN, f"{taken >> 20} MiB are too little to see them return"
        end(call)
        del call
        deadline = time.monotonic() + RETURN_SECONDS
        while (kept := rss_bytes(server.pid) - healthy.rss) > KEPT_BYTES_MAX:
            assert time.monotonic() < deadline, f"{kept >> 20} of {taken >> 20} MiB stay"
            time.sleep(0.1)
        assert engine(client).buffered_bytes == 0
        healthy.check()
