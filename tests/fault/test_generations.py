"""Generations that are many, long, cancelled or late: their memory is bounded and comes back, and
no other call waits for them."""

import time

import grpc
import pytest

from scalpel.v1 import generate_pb2
from tests.fault.alive import Alive
from tests.fault.calls import refused
from tests.support.client import Client, make_request
from tests.support.server import Server

Code = grpc.StatusCode
LENGTH = 256  # the model's context
KV_BYTES = 2 * 12 * LENGTH * 96 * 4  # of one stream that fills it


def generation(streams: int = 1, **fields) -> generate_pb2.GenerateRequest:
    request = {
        "prompts": [{"token_ids": {"ids": [1]}}],
        "continuations": streams,
        "sampling": {"sample": True},
        "stop": {"max_new_tokens": LENGTH, "ignore_eos": True},
        **fields,
    }
    return make_request(request, generate_pb2.GenerateRequest)


def ask(client: Client, request, timeout: float = 60):
    return list(client.stub.Generate(request, timeout=timeout))


def _ask_until_there_is_room(client: Client, request) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            return ask(client, request)
        except grpc.RpcError as error:
            assert error.code() == Code.RESOURCE_EXHAUSTED, error
            assert time.monotonic() < deadline, "the cancelled call keeps its memory"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def narrow():
    """Room for the keys and values of four whole streams."""
    with Server("--max-kv-bytes", str(4 * KV_BYTES)) as server:
        yield server


@pytest.fixture(scope="module")
def alive(narrow):
    with Client(narrow.address) as client:
        ask(client, generation(4))
        yield Alive(narrow, client)


def test_started_says_what_is_reserved(narrow):
    with Client(narrow.address) as client:
        (started,) = ask(client, generation(3, validate_only=True))
    assert started.started.kv_bytes == 3 * KV_BYTES


def test_more_than_there_is_room_for_is_refused_for_good(narrow, alive):
    with Client(narrow.address) as client:
        found = refused(lambda: ask(client, generation(5)))
    assert found.code == Code.RESOURCE_EXHAUSTED
    assert "QuotaFailure" in found.details and "RetryInfo" not in found.details
    alive.check()


def test_room_that_others_take_is_refused_for_now_and_comes_back_with_a_cancel(narrow, alive):
    with Client(narrow.address) as client, Client(narrow.address) as other:
        call = client.stub.Generate(generation(3))
        assert next(call).HasField("started")
        found = refused(lambda: ask(other, generation(2)))
        assert found.code == Code.RESOURCE_EXHAUSTED
        assert "RetryInfo" in found.details, found
        call.cancel()
        _ask_until_there_is_room(other, generation(2))
    alive.check()


def test_a_cancel_and_a_deadline_end_all_streams(narrow, alive):
    with Client(narrow.address) as client:
        call = client.stub.Generate(generation(4))
        for _ in range(20):
            next(call)
        call.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() == Code.CANCELLED
        _ask_until_there_is_room(client, generation(1, stop={"max_new_tokens": 1}))
        found = refused(lambda: ask(client, generation(1), timeout=0.05))
        assert found.code == Code.DEADLINE_EXCEEDED
    alive.check()


def test_a_small_call_does_not_wait_for_generations(narrow, alive):
    run = make_request({"prompts": [{"token_ids": {"ids": [5, 6]}}]})
    with Client(narrow.address) as client, Client(narrow.address) as other:
        call = client.stub.Generate(generation(4))
        assert next(call).HasField("started")
        took = []
        for _ in range(20):
            begin = time.monotonic()
            list(other.stub.Run(run, timeout=10))
            took.append(time.monotonic() - begin)
        assert call.is_active(), "the generation has ended before the small calls"
        call.cancel()
    assert sorted(took)[10] < 0.5
    alive.check()


def test_texts_are_the_same_beside_others(narrow, alive):
    def texts(events):
        return {
            event.stream_finished.stream: list(event.stream_finished.ids)
            for event in events
            if event.HasField("stream_finished")
        }

    request = generation(
        2,
        interventions=[
            {
                "place": {"site": "SITE_MLP_POST", "where": {"layers": [4]}},
                "noise": {"std": 0.5, "mode": "NOISE_MODE_ADD"},
            }
        ],
        reuse_kv="KV_REUSE_INTERVENED",
        stop={"max_new_tokens": 60, "ignore_eos": True},
    )
    with Client(narrow.address) as client, Client(narrow.address) as other:
        alone = texts(ask(client, request))
        call = other.stub.Generate(generation(2))
        assert next(call).HasField("started")
        assert texts(ask(client, request)) == alone
        assert call.is_active()
        call.cancel()
    alive.check()
