"""What a caller may take, and all callers together: refusals that say when to come back.

An answer that is too large, for which no retry helps, is among the limits (test_limits.py).
"""

import contextlib
import time

import grpc
import pytest

from scalpel.v1 import limits_pb2, server_status_pb2
from tests.e2e import heavy
from tests.fault import http2, methods
from tests.fault.calls import refused
from tests.support.client import Client, make_request
from tests.support.server import Server, is_serving
from tests.support.tokens import TokenFile

RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
RUN = methods.RUN
STATUS = server_status_pb2.GetStatusRequest()
# Computed in a moment, and too large for the buffers on its way to who does not read it.
UNREAD = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}] * 2,
    "captures": [{"place": {"path": "hook_pattern"}}],
    "logits": {"none": {}},
}
RETRY_SECONDS_MAX = 30
RATE = 200  # tokens per second


@contextlib.contextmanager
def under_way(*clients):
    """A call of each client that is answered and not read, so that it goes on without computing."""
    calls = [client.stub.Run(make_request(UNREAD)) for client in clients]
    try:
        for call in calls:
            assert next(call).HasField("started")
        yield calls
    finally:
        for call in calls:
            call.cancel()


def assert_comes_back(client, request):
    """Refused for now; returns the seconds after which the caller is told to ask again."""
    found = refused(lambda: client.run(request))
    assert found.code == RESOURCE_EXHAUSTED, found
    assert "QuotaFailure" not in found.details
    delay = found.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds()
    assert 0 < delay <= RETRY_SECONDS_MAX
    return delay


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    file = TokenFile(tmp_path_factory.mktemp("quotas") / "tokens.json")
    made = {
        "single": file.add("single", "runner", max_calls=1),
        "slow": file.add("slow", "runner", max_tokens_per_second=RATE),
        "free": file.add("free", "runner"),
        "other": file.add("other", "operator"),
    }
    return file, made


@pytest.fixture(scope="module")
def quoted(tokens):
    with Server("--tokens", str(tokens[0].path)) as server:
        yield server


@pytest.fixture
def callers(quoted, tokens):
    """A client of each caller."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Client(quoted.address, token=token))
            for name, token in tokens[1].items()
        }


def test_calls_of_a_caller_at_once(callers):
    """more than max in flight + queue

    Refused is the call too many of this caller, and of nobody else; later it is admitted.
    """
    with under_way(callers["single"]):
        delay = assert_comes_back(callers["single"], RUN)
        callers["free"].run(RUN)
        with under_way(callers["free"], callers["other"]):
            callers["free"].run(RUN)
        assert_comes_back(callers["single"], RUN)
    time.sleep(delay)
    callers["single"].run(RUN)


ENDINGS = {
    "finished": lambda client: client.run(RUN),
    "invalid": lambda client: refused(lambda: client.run({})),
    "not found": lambda client: refused(lambda: client.run({**RUN, "model": "another"})),
    "not its role": lambda client: refused(lambda: client.stub.GetStatus(STATUS)),
    "deadline": lambda client: refused(lambda: client.run(UNREAD, timeout_seconds=0.05)),
    "cancelled": lambda client: _cancel(client),
    "connection lost": lambda client: _lose(client),
}


def _cancel(client):
    with under_way(client):
        pass


def _lose(client):
    call = client.stub.Run(make_request(UNREAD))
    next(call)
    client.close()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_call_gives_its_place_back_however_it_ends(quoted, tokens, ending):
    """cancel in queue, before first write, mid-write, after last write; slot freed < 1 s"""
    for _ in range(3):
        with Client(quoted.address, token=tokens[1]["single"]) as client:
            _until_admitted(client, 1)
            ENDINGS[ending](client)
    with Client(quoted.address, token=tokens[1]["single"]) as client:
        _until_admitted(client, 1)


def _until_admitted(client, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.run(RUN)
        except grpc.RpcError as error:
            assert error.code() == RESOURCE_EXHAUSTED, error
            assert time.monotonic() < deadline, f"its place was not free after {seconds} s"
        time.sleep(0.02)


def prompts(count):
    """A request of 240 tokens for each."""
    return {"prompts": [{"token_ids": {"ids": [7] * 240}}] * count}


# More than a caller gathers in the ten seconds that are gathered at most: it is in debt then.
TOO_MANY = prompts(10)
DEBT_SECONDS = (10 * 240 - 10 * RATE) / RATE


def test_tokens_per_second_of_a_caller(callers):
    """more than max in flight + queue

    Who has used more than its rate waits until time has made up for it, as long as it is told, and
    is admitted then. Calls that compute nothing, and other callers, go on.
    """
    slow = callers["slow"]
    slow.run(TOO_MANY)
    begin = time.monotonic()
    delay = assert_comes_back(slow, RUN)
    assert delay <= DEBT_SECONDS + 0.1
    slow.model()
    callers["free"].run(TOO_MANY)
    callers["free"].run(RUN)
    assert time.monotonic() - begin < delay, "too slow to tell anything"
    later = assert_comes_back(slow, RUN)
    assert later <= delay
    time.sleep(later)
    slow.run(RUN)


def test_refused_tokens_are_not_charged(quoted, tokens):
    """more than max in flight + queue

    Who asks again and again is not put off further and further.
    """
    token = tokens[0].add("eager", "runner", max_tokens_per_second=RATE)
    with Client(quoted.address, token=token) as client:
        _until_known(client)
        client.run(TOO_MANY)
        delays = [assert_comes_back(client, TOO_MANY) for _ in range(20)]
    assert delays == sorted(delays, reverse=True)


def _until_known(client, seconds=5):
    """The server reads its token file each second."""
    deadline = time.monotonic() + seconds
    while refusal_code(client) == grpc.StatusCode.UNAUTHENTICATED:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def refusal_code(client):
    try:
        client.model()
    except grpc.RpcError as error:
        return error.code()
    return None


def test_calls_of_a_caller_without_a_token(start_server):
    """more than max in flight + queue

    Without tokens a caller is an address; connections do not count.
    """
    server = start_server("--max-calls-per-caller", "2")
    with Client(server.address) as one, Client(server.address) as two:
        with under_way(one, two):
            assert_comes_back(one, RUN)
            assert_comes_back(two, RUN)
            assert _status(server, "127.0.0.1") == "8" and _status(server, "127.0.0.2") == "0"
        _until_admitted(one, 1)


def _status(server, source):
    message = make_request(RUN).SerializeToString()
    return http2.call(server.address, methods.SERVICE + "Run", message, source=source)[
        "grpc-status"
    ]


def test_tokens_of_a_caller_without_a_token(start_server):
    """more than max in flight + queue

    The flag is what the token file does not say.
    """
    server = start_server("--max-tokens-per-second-per-caller", str(RATE))
    with Client(server.address) as client:
        client.run(TOO_MANY)
        time.sleep(assert_comes_back(client, RUN))
        client.run(RUN)


def test_calls_of_all_together(start_server, tokens):
    """more than max in flight + queue

    Over all callers and connections; health is answered all the same, and who asks why.
    """
    file, made = tokens
    server = start_server("--max-calls", "2", "--tokens", str(file.path))
    with contextlib.ExitStack() as stack:
        one, two, three = (
            stack.enter_context(Client(server.address, token=made[name]))
            for name in ("free", "other", "single")
        )
        with under_way(one, two):
            delay = assert_comes_back(three, RUN)
            assert_comes_back(one, RUN)
            assert is_serving(server.address)
            status = two.stub.GetStatus(STATUS, timeout=10)
            assert {caller.name: caller.calls for caller in status.callers}["free"] == 1
        time.sleep(delay)
        three.run(RUN)


def test_a_full_queue_has_room_again(start_server):
    """more than max in flight + queue

    After the delay, when those before have left.
    """
    server = start_server("--max-queue", "1")
    with Client(server.address) as client:
        calls = [client.stub.Run(make_request(heavy.endless())) for _ in range(4)]
        try:
            deadline = time.monotonic() + 10
            while not (told := [call for call in calls if call.done()]):
                assert time.monotonic() < deadline, "the queue never was full"
                time.sleep(0.02)
            found = refused(lambda: list(told[0]))
        finally:
            for call in calls:
                call.cancel()
        assert found.code == RESOURCE_EXHAUSTED
        time.sleep(found.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds())
        client.run(RUN)


# For each of GetModel's limits a value that no default has; its flag is its name.
UNUSUAL = {
    "max_request_bytes": 3_000_001,
    "max_prompts": 17,
    "max_tokens": 1003,
    "max_text_bytes": 70_001,
    "max_interventions": 19,
    "max_probes": 23,
    "max_captures": 29,
    "max_name_bytes": 31,
    "max_response_bytes": 5_000_011,
    "chunk_bytes": 65_537,
    "max_queue": 37,
    "max_top_k": 41,
    "max_histogram_bins": 43,
    "max_quantiles": 7,
    "max_buffered_bytes": 7_000_013,
    "max_variants": 47,
    "max_metrics": 5,
    "max_grid_axes": 3,
    "wave_tokens": 257,
    "max_request_fields": 100_019,
    "max_places": 100_043,
    "max_sweep_places": 1_000_033,
    "max_activation_bytes": 1_000_000_007,
    "max_observation_seconds": 17,
    "max_streams": 33,
    "max_stops": 9,
    "max_kv_bytes": 77_000_001,
    "max_violations": 11,
    "baseline_cache_bytes": 9_000_011,
    "max_record_bytes": 8_000_009,
    "max_connections": 53,
    "max_calls": 59,
    "max_streams_per_connection": 61,
    "max_calls_per_caller": 13,
    "max_tokens_per_second_per_caller": 100_003,
    "max_metadata_bytes": 12_289,
}


def test_get_model_tells_the_limits_that_were_given(start_server):
    """more than max in flight + queue

    All of them can be set, and none is told that does not hold. A new limit needs a row above.
    """
    assert set(UNUSUAL) == {field.name for field in limits_pb2.Limits.DESCRIPTOR.fields}
    flags = []
    for name, value in UNUSUAL.items():
        flags += ["--" + name.replace("_", "-"), str(value)]
    with Client(start_server(*flags).address) as client:
        limits = client.model().limits
    assert {name: getattr(limits, name) for name in UNUSUAL} == UNUSUAL
