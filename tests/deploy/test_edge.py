"""The edge in front of two servers: who calls which, what it refuses, and what it survives."""

import socket
import subprocess
import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.deploy.callers import Callers, cache_of, run
from tests.deploy.edge import Edge
from tests.support import environment
from tests.support.client import model_pb2, service_pb2_grpc
from tests.support.tokens import TokenFile

# Enough of them that both servers surely get some. They differ from their first token on.
PROMPTS = [f"{number} times Mary went to the store" for number in range(10, 34)]


@pytest.fixture
def servers(start_server):
    """Two servers whose caches are empty."""
    return [start_server("--threads", "1") for _ in range(2)]


@pytest.fixture
def edge(servers, tmp_path):
    with Edge(tmp_path, [server.address for server in servers]) as running:
        yield running


@pytest.fixture
def fast_edge(servers, tmp_path):
    """For callers who do nothing else."""
    addresses = [server.address for server in servers]
    with Edge(tmp_path, addresses, rate="rate=10000r/s") as running:
        yield running


def run_all(edge: Edge, by_prompt: bool) -> None:
    """Every prompt, each over a connection of its own."""
    for prompt in PROMPTS:
        with edge.channel() as channel:
            run(channel, prompt, affinity=prompt if by_prompt else None)


def held(servers) -> list[int]:
    """How many prompts each server holds. One more than was asked: that of its own warm-up."""
    return [cache_of(server).entries - 1 for server in servers]


def test_a_prompt_stays_with_its_server(edge, servers):
    """Three times all prompts: each is computed once, and both servers have some."""
    hits_before = sum(cache_of(server).hits for server in servers)
    for _ in range(3):
        run_all(edge, by_prompt=True)
    counts = held(servers)
    assert sum(counts) == len(PROMPTS) and min(counts) > 0
    assert sum(cache_of(server).hits for server in servers) - hits_before == 2 * len(PROMPTS)


def test_without_a_header_an_address_stays_with_its_server(edge, servers):
    run_all(edge, by_prompt=False)
    assert sorted(held(servers)) == [0, len(PROMPTS)]


def test_a_killed_servers_callers_reach_the_other(edge, servers):
    """Nobody sees an error, and what the other server knew it need not compute again."""
    run_all(edge, by_prompt=True)
    dead, alive = servers
    known, hits_before = held([alive])[0], cache_of(alive).hits
    dead.kill()
    run_all(edge, by_prompt=True)
    assert held([alive]) == [len(PROMPTS)]
    assert cache_of(alive).hits - hits_before == known


def test_a_call_that_a_killed_server_was_answering_succeeds_when_repeated(fast_edge, servers):
    with Callers(fast_edge, PROMPTS) as callers:
        time.sleep(1)
        servers[0].kill()
        completed = callers.completed
        time.sleep(1)
    assert callers.completed > completed > 0
    assert callers.lost == []


def test_a_server_that_stops_unannounced_loses_no_call_that_is_repeated(fast_edge, servers):
    """Its calls under way end as they would have; new ones are told UNAVAILABLE, for a moment."""
    with Callers(fast_edge, PROMPTS) as callers:
        time.sleep(1)
        assert servers[0].stop() == 0
        completed = callers.completed
        time.sleep(1)
    assert callers.completed > completed > 0
    assert set(callers.failures) <= {grpc.StatusCode.UNAVAILABLE}
    assert callers.lost == []


def test_draining_a_server_loses_nothing(fast_edge, servers):
    """As the README says: out of the edge's list, then SIGTERM."""
    addresses = [server.address for server in servers]
    leaving, staying = servers
    with Callers(fast_edge, PROMPTS) as callers:
        time.sleep(1)
        fast_edge.set_servers(addresses, down=(leaving.address,))
        fast_edge.reload()
        assert leaving.stop() == 0
        completed = callers.completed
        time.sleep(1)
    assert callers.completed > completed > 0
    assert callers.failures == []
    assert held([staying]) == [len(PROMPTS)]


def test_a_token_goes_through_the_edge(start_server, tmp_path):
    """And no other: the edge asks nobody itself."""
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.add("alice", "runner")
    server = start_server("--threads", "1", "--tokens", str(tokens.path))
    folder = tmp_path / "edge"
    folder.mkdir()
    with Edge(folder, [server.address]) as edge, edge.channel() as channel:
        run(channel, PROMPTS[0], affinity=None, token=token)
        for wrong in ("", token[:-1] + "?"):
            with pytest.raises(grpc.RpcError) as refusal:
                run(channel, PROMPTS[0], affinity=None, token=wrong)
            assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_neither_prompts_nor_tokens_are_logged(edge):
    with edge.channel() as channel:
        run(channel, PROMPTS[0], affinity=PROMPTS[1], token="scalpel_" + 32 * "x")
    deadline = time.monotonic() + 10  # nginx writes the line when the caller has its answer
    while '"POST /scalpel.v1.InterventionService/Run" 200' not in edge.log():
        assert time.monotonic() < deadline, edge.log()
        time.sleep(0.02)
    assert "Mary" not in edge.log() and "xxxx" not in edge.log()


def test_too_many_calls_are_refused_and_later_ones_are_not(edge):
    request = model_pb2.GetModelRequest()
    with edge.channel() as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        calls = [stub.GetModel.future(request, timeout=60) for _ in range(400)]
        refusals = [call.exception() for call in calls if call.exception() is not None]
        assert {error.code() for error in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {error.details() for error in refusals} == {
            "too many calls from this address; try again later"
        }
        for error in refusals:
            assert delay_asked(error) == 1
        # The burst of 100, less what limit_conn refused of it.
        assert 64 <= len(calls) - len(refusals) < 300
        time.sleep(1)
        assert stub.GetModel(request, timeout=20).model == "demo-model"


def delay_asked(error: grpc.RpcError) -> int:
    """The seconds of google.rpc.RetryInfo, by which clients know that a later try can succeed."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details)
    assert status.code == error.code().value[0]
    info = error_details_pb2.RetryInfo()
    assert [detail.Unpack(info) for detail in status.details] == [True]
    return info.retry_delay.seconds


def test_what_was_sent_is_not_sent_again(servers, tmp_path):
    """A request that ends a server must not end the next one too; its caller decides."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as closing:
        threading.Thread(target=take_and_close, args=[closing, taken], daemon=True).start()
        address = f"127.0.0.1:{closing.getsockname()[1]}"
        with Edge(tmp_path, [address, servers[0].address]) as edge, edge.channel() as channel:
            failures = []
            for prompt in PROMPTS:
                try:
                    run(channel, prompt, affinity=prompt)
                except grpc.RpcError as error:
                    failures.append(error.code())
    # Then the edge leaves it out for 10 seconds.
    assert failures == [grpc.StatusCode.UNAVAILABLE] and len(taken) == 1


def take_and_close(listener: socket.socket, taken: list[bytes]) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            received = b""
            while b"Mary" not in received and (part := connection.recv(65536)):
                received += part
            taken.append(received)


def test_a_large_request_is_refused_with_a_limit(edge):
    """Between 16 and 32 MiB by the server, which says its limit; above by nginx."""
    with edge.channel() as channel:
        call = channel.unary_unary("/scalpel.v1.InterventionService/Tokenize")
        for mebibytes, limit in ((17, "16777216"), (40, "32 MiB")):
            with pytest.raises(grpc.RpcError) as refusal:
                call(bytes(mebibytes << 20), timeout=60)
            assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert limit in refusal.value.details()


def test_without_servers_both_kinds_of_client_read_unavailable(edge, servers):
    for server in servers:
        server.kill()
    with edge.channel() as channel, pytest.raises(grpc.RpcError) as refusal:
        run(channel, PROMPTS[0], affinity=None)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert refusal.value.details() == "no server answers; try again later"
    grpcurl = [str(environment.grpcurl_binary()), "-cacert", str(edge.certificate)]
    grpcurl += ["-import-path", str(environment.PROTO), "-proto", "scalpel/v1/service.proto"]
    grpcurl += [edge.address, "scalpel.v1.InterventionService/GetModel"]
    done = subprocess.run(grpcurl, capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 + grpc.StatusCode.UNAVAILABLE.value[0], done.stderr
    assert "no server answers; try again later" in done.stderr


def test_only_tls_is_spoken(edge):
    with grpc.insecure_channel(edge.address) as channel, pytest.raises(grpc.RpcError) as refusal:
        run(channel, PROMPTS[0], affinity=None)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
