"""Every reason for which a call is refused, as the metrics count them."""

import contextlib

import grpc
import pytest

from scalpel.v1 import server_status_pb2
from tests.e2e import grpcurl, heavy
from tests.e2e.insight import METRICS, PROMPT, scrape, wait_for
from tests.support.client import Client, make_request
from tests.support.server import Server
from tests.support.tokens import TokenFile


def rejections(server: Server) -> dict[str, float]:
    found = scrape(server)
    return {
        name.split('"')[1]: value
        for name, value in found.items()
        if name.startswith("scalpel_rejections_total") and value
    }


def fill(server: Server, count: int) -> tuple[Client, list[grpc.Call]]:
    """Calls that stay until they are cancelled."""
    client = Client(server.address)
    calls = [client.stub.Run(make_request(heavy.endless())) for _ in range(count)]
    return client, calls


def leave(client: Client, calls: list[grpc.Call]) -> None:
    for call in calls:
        call.cancel()
    client.close()


def until_refused(server: Server, reason: str) -> None:
    with Client(server.address) as client:

        def refused() -> float | None:
            with contextlib.suppress(grpc.RpcError):
                client.run(PROMPT, timeout_seconds=0.5)
            return rejections(server).get(reason)

        wait_for(refused, seconds=20)


def test_a_full_queue_is_a_reason(start_server):
    server = start_server("--max-queue", "1", *METRICS)
    client, calls = fill(server, 4)
    until_refused(server, "queue_full")
    leave(client, calls)


def test_unread_responses_are_a_reason(start_server):
    limits = ("--max-response-bytes", "8000000", "--max-buffered-bytes", "8000000")
    server = start_server(*limits, *METRICS)
    client, calls = fill(server, 3)  # 4 MB each
    wait_for(lambda: rejections(server).get("buffered_bytes"))
    leave(client, calls)


def test_too_many_calls_of_one_caller_or_of_all_are_reasons(start_server):
    server = start_server("--max-calls-per-caller", "1", *METRICS)
    client, calls = fill(server, 1)
    next(iter(calls[0]))
    until_refused(server, "caller_calls")
    leave(client, calls)
    server = start_server("--max-calls", "1", *METRICS)
    client, calls = fill(server, 1)
    next(iter(calls[0]))
    until_refused(server, "calls_max")
    status = client.stub.GetStatus(server_status_pb2.GetStatusRequest(), timeout=10)
    assert {caller.name: caller.calls for caller in status.callers} == {"anonymous": 2}
    leave(client, calls)


def test_too_many_tokens_of_one_caller_are_a_reason(start_server):
    server = start_server("--max-tokens-per-second-per-caller", "1", *METRICS)
    for _ in range(3):
        grpcurl.call(server.address, "Run", {"prompts": [{"text": "word " * 100}]})
    assert rejections(server)["caller_rate"] >= 1


def test_refusals_of_the_gate_are_reasons(start_server, tmp_path):
    tokens = TokenFile(tmp_path / "tokens.json")
    reader = tokens.add("rita", "reader")
    server = start_server("--tokens", str(tokens.path), *METRICS)
    with Client(server.address) as nobody, pytest.raises(grpc.RpcError):
        nobody.model()
    bearer = ["-H", f"authorization: Bearer {reader}"]
    assert grpcurl.call(server.address, "Run", PROMPT, options=bearer).code == 7
    assert rejections(server).keys() == {"unauthenticated", "permission"}
    assert scrape(server)['scalpel_token_file_reloads_total{result="ok"}'] == 0
    tokens.add("ron", "runner")
    wait_for(lambda: scrape(server)['scalpel_token_file_reloads_total{result="ok"}'] == 1)
    assert reader not in server.log()


def test_what_can_never_succeed_is_a_reason(start_server):
    server = start_server("--max-response-bytes", "1048576", *METRICS)
    captures = [{"place": {"site": "SITE_MLP_POST"}}]
    request = {"prompts": [{"text": "word " * 100}], "captures": captures}
    assert grpcurl.call(server.address, "Run", request).code == 8
    assert grpcurl.call(server.address, "Run", {}).code == 3
    assert rejections(server) == {"response_too_large": 1, "invalid": 1}
