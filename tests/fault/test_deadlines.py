"""Deadlines that pass, and callers who leave: the work stops, and is counted as what it was."""

import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.e2e import heavy
from tests.e2e.insight import METRICS, scrape, wait_for
from tests.fault import frames
from tests.fault.alive import Alive
from tests.fault.calls import RUN, refused
from tests.support.client import Client, make_request
from tests.support.server import Server

ENDLESS = make_request(heavy.endless())
# Its answer is more than a connection holds unread, so it is under way until it is read.
UNREAD = make_request(
    {
        "prompts": [{"token_ids": {"ids": [3] * 256}}] * 4,
        "captures": [{"place": {"path": "hook_pattern"}}],
    }
)
SMALL = make_request({"prompts": [{"token_ids": {"ids": [1, 2]}}]})
SLOT_SECONDS = 1  # in which a caller who leaves has made room
# A layer of `ENDLESS`, on a slow machine with much else to do.
LAYER_SECONDS = 5


@pytest.fixture(scope="module")
def shared() -> Iterator[Alive]:
    with Server(*METRICS) as server, Client(server.address) as client:
        yield Alive(server, client)


@pytest.fixture
def watched(shared: Alive) -> Iterator[Server]:
    """A server of which metrics are read; it must be alive afterwards."""
    # A call is counted a little after its caller has the answer.
    wait_for(lambda: not scrape(shared.server)['scalpel_calls_in_progress{method="Run"}'])
    yield shared.server
    shared.check()


def ended(server: Server) -> dict[str, float]:
    """How many runs have ended so far, by code."""
    found = scrape(server)
    return {
        code: found.get(f'scalpel_calls_total{{code="{code}",method="Run"}}', 0)
        for code in ("OK", "CANCELLED", "DEADLINE_EXCEEDED")
    }


def assert_counted(server: Server, before: dict[str, float], code: str, count: int = 1) -> None:
    """So many runs more have ended, all of them with this code."""
    wait_for(lambda: sum(ended(server).values()) == sum(before.values()) + count)
    assert ended(server) == {**before, code: before[code] + count}


def assert_idle(server: Server, seconds: float) -> None:
    wait_for(lambda: not scrape(server)["scalpel_engine_running"], seconds)


def log_line(server: Server, request_id: str) -> str:
    """The line of the access log."""
    found = f"request={request_id} "
    return wait_for(lambda: next((line for line in server.log().splitlines() if found in line), ""))


# ---- deadlines ---------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [1, 5, 20])
def test_a_deadline_of_a_moment(watched: Server, milliseconds: int) -> None:
    """deadline 1 ms: the client's own clock ends it, perhaps before the server has seen it"""
    with Client(watched.address) as client:
        for _ in range(20):
            timeout = milliseconds / 1000
            found = refused(lambda: list(client.stub.Run(ENDLESS, timeout=timeout)))  # noqa: B023
            assert found.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert_idle(watched, LAYER_SECONDS)
    wait_for(lambda: not scrape(watched)['scalpel_calls_in_progress{method="Run"}'])
    assert ended(watched)["CANCELLED"] == 0


def test_a_deadline_between_layers(watched: Server) -> None:
    """deadline mid-layer: the work stops within one layer"""
    before = ended(watched)
    with Client(watched.address) as client:
        begin = time.monotonic()
        call = client.stub.Run(ENDLESS, timeout=1.5)
        layers, found = [], None
        try:
            for response in call:
                if response.HasField("layer_statistics"):
                    layers.append(response)
        except grpc.RpcError as error:
            found = error.code()
        assert found == grpc.StatusCode.DEADLINE_EXCEEDED
        assert len(layers) < 12 and time.monotonic() - begin < 3
        assert_idle(watched, LAYER_SECONDS)
    assert_counted(watched, before, "DEADLINE_EXCEEDED")


def test_a_deadline_in_the_queue(watched: Server) -> None:
    """deadline in the queue: what was not begun never is"""
    before, waves = ended(watched), scrape(watched)["scalpel_engine_waves_total"]
    with Client(watched.address) as client:
        first = client.stub.Run(ENDLESS)
        wait_for(lambda: scrape(watched)["scalpel_engine_running"] == 1)
        found = refused(lambda: list(client.stub.Run(ENDLESS, timeout=0.1)))
        assert found.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert_counted(watched, before, "DEADLINE_EXCEEDED")
        first.cancel()
        assert_idle(watched, LAYER_SECONDS)
    assert_counted(watched, before | {"CANCELLED": before["CANCELLED"] + 1}, "DEADLINE_EXCEEDED")
    assert scrape(watched)["scalpel_engine_waves_total"] <= waves + 1


@pytest.mark.parametrize(
    "after, code", [(1, "CANCELLED"), (3.95, "DEADLINE_EXCEEDED"), (4.3, "DEADLINE_EXCEEDED")]
)
def test_a_reset_by_the_clients_deadline_is_no_cancel(
    watched: Server, after: float, code: str
) -> None:
    """deadline mid-layer: the client's deadline comes a little before the server's own

    Its reset then arrives before the server's deadline has passed.
    """
    before, request_id = ended(watched), f"reset-after-{after}"
    more = ((b"grpc-timeout", b"4S"), (b"x-request-id", request_id.encode()))
    with frames.connection(watched) as link:
        begin = time.monotonic()
        link.sendall(frames.call(1, RUN, UNREAD.SerializeToString(), *more))
        time.sleep(after - (time.monotonic() - begin))
        link.sendall(frames.reset(1))
        assert f"code={code} " in log_line(watched, request_id)
    assert_counted(watched, before, code)


# ---- cancels -----------------------------------------------------------------


def _in_the_queue(server: Server, client: Client) -> list[grpc.Call]:
    """A run that waits for another; both are cancelled."""
    calls = [client.stub.Run(ENDLESS)]
    wait_for(lambda: scrape(server)["scalpel_engine_running"] == 1)
    calls.append(client.stub.Run(ENDLESS))
    wait_for(lambda: scrape(server)["scalpel_engine_queue_length"] == 1)
    return [calls[1], calls[0]]


def _before_the_first_write(server: Server, client: Client) -> list[grpc.Call]:
    call = client.stub.Run(ENDLESS)
    wait_for(lambda: scrape(server)['scalpel_calls_in_progress{method="Run"}'])
    return [call]


def _while_it_writes(server: Server, client: Client) -> list[grpc.Call]:
    call = client.stub.Run(UNREAD)
    next(call)
    assert_idle(server, 20)  # it has been computed, and lies unread
    return [call]


def _while_it_computes(server: Server, client: Client) -> list[grpc.Call]:
    call = client.stub.Run(ENDLESS)
    for response in call:
        if response.HasField("layer_statistics"):
            return [call]
    raise AssertionError("it ended before it could be left")


@pytest.mark.parametrize(
    "begin", [_in_the_queue, _before_the_first_write, _while_it_computes, _while_it_writes]
)
def test_a_cancel_gives_back_what_the_call_held(
    watched: Server, begin: Callable[[Server, Client], list[grpc.Call]]
) -> None:
    """cancel in queue, before first write, mid-write: CANCELLED; slot freed < 1 s"""
    before = ended(watched)
    with Client(watched.address) as client:
        calls = begin(watched, client)
        for call in calls:
            call.cancel()
        left = time.monotonic()
        wait_for(lambda: not scrape(watched)['scalpel_calls_in_progress{method="Run"}'], 5)
        assert time.monotonic() - left < SLOT_SECONDS
        assert_idle(watched, LAYER_SECONDS)
        wait_for(lambda: not scrape(watched)["scalpel_buffered_bytes"], SLOT_SECONDS)
    assert_counted(watched, before, "CANCELLED", len(calls))


def test_a_cancel_after_the_last_write_changes_nothing(watched: Server) -> None:
    """cancel after last write: the call has ended"""
    before = ended(watched)
    with Client(watched.address) as client:
        call = client.stub.Run(SMALL)
        while not next(call).HasField("finished"):
            pass
        call.cancel()
    assert_counted(watched, before, "OK")
