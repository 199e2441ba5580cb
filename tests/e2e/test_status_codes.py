"""Each status code of the contract that applies now, as grpcurl receives it, with its details.

The texts of refusals are in the unit tests; here are the paths of the fields that they name.
"""

import json
import shutil
import subprocess
import threading
import time

import grpc
import pytest

from tests.e2e import grpcurl, heavy
from tests.support.client import Client, make_request
from tests.support.server import Server

PROMPT = [{"text": "When Mary and John went to the store, John gave a drink to"}]
OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 3, 4, 5
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAVAILABLE = 8, 9, 14


@pytest.fixture(scope="module")
def small_server(model_dir):
    """A server with tight limits."""
    flags = ("--max-response-bytes", "100000", "--max-request-bytes", "65536")
    with Server(*flags, model=model_dir) as running:
        yield running


def violations(answer: grpcurl.Answer) -> list[str]:
    """The fields that the refusal names, in its order."""
    (bad_request,) = answer.details("BadRequest")
    return [entry["field"] for entry in bad_request["field_violations"]]


def test_ok(server):
    answer = grpcurl.call(server.address, "Run", {"prompts": PROMPT})
    assert answer.code == OK and "finished" in answer.messages[-1]


def test_invalid_argument_lists_every_violation(server):
    request = {
        "prompts": PROMPT,
        "interventions": [
            {"place": {"site": "SITE_K", "where": {"layers": [12]}}, "zero": {}},
            {"place": {"site": "SITE_RESID_POST"}, "scale": {}},
            {"place": {"path": "hook_nonsense"}, "zero": {}},
        ],
    }
    answer = grpcurl.call(server.address, "Run", request)
    assert answer.code == INVALID_ARGUMENT and not answer.messages
    found = violations(answer)
    assert set(found) == {
        "interventions[0].place.where.layers[0]",
        "interventions[1].scale.factor",
        "interventions[2].place.path",
    }
    assert found[0] in answer.text, "the message alone already says the first"


@pytest.mark.parametrize(
    "method, request_",
    [
        ("GetModel", {}),
        ("Tokenize", {"text": "a"}),
        ("Detokenize", {"ids": [1]}),
        ("Run", {"prompts": PROMPT}),
        ("Sweep", {"prompts": PROMPT}),
        ("Generate", {"prompts": PROMPT}),
    ],
)
def test_not_found(server, method, request_):
    answer = grpcurl.call(server.address, method, {**request_, "model": "another-model"})
    assert answer.code == NOT_FOUND
    assert answer.text.startswith("model: ")


def test_resource_exhausted_by_the_response(small_server):
    """The request can never succeed: a QuotaFailure names the limit, and there is no RetryInfo."""
    request = {"prompts": PROMPT, "captures": [{"place": {"site": "SITE_MLP_POST"}}]}
    answer = grpcurl.call(small_server.address, "Run", request)
    assert answer.code == RESOURCE_EXHAUSTED and not answer.messages
    (quota,) = answer.details("QuotaFailure")
    (violation,) = quota["violations"]
    assert violation["subject"] == "limits.max_response_bytes"
    assert not answer.details("RetryInfo")


def test_resource_exhausted_by_the_request(small_server):
    """The library refuses a message above --max-request-bytes before anybody parses it."""
    request = {"prompts": [{"text": "a" * 70000}]}
    assert grpcurl.call(small_server.address, "Run", request).code == RESOURCE_EXHAUSTED


def test_resource_exhausted_by_the_queue(start_server):
    """One runs, one waits, the third is told when to come back."""
    server = start_server("--max-queue", "1")
    request = make_request(heavy.endless())
    with Client(server.address) as client:
        calls: list[grpc.Call] = []
        try:
            answer = _until_refused(server.address, lambda: calls.append(client.stub.Run(request)))
        finally:
            for call in calls:
                call.cancel()
    (retry,) = answer.details("RetryInfo")
    assert float(retry["retry_delay"].removesuffix("s")) > 0
    assert not answer.details("QuotaFailure")


def _until_refused(address, fill, seconds=10):
    """Those that come before the first has begun are refused too: goes on until one waits."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fill()
        answer = grpcurl.call(address, "Run", {"prompts": PROMPT})
        if answer.code == RESOURCE_EXHAUSTED:
            return answer
    raise AssertionError("the queue never was full")


def test_deadline_exceeded(server):
    """The deadline passes while layers are computed; the server goes on with what comes next."""
    answer = grpcurl.call(server.address, "Run", heavy.endless(), options=["-max-time", "1"])
    assert answer.code == DEADLINE_EXCEEDED
    assert grpcurl.call(server.address, "Run", {"prompts": PROMPT}).code == OK


def test_cancelled_client_leaves_a_working_server(server):
    """The client dies in the middle; the server notes CANCELLED and goes on."""
    data = json.dumps(heavy.endless()).encode()
    line = grpcurl.command(
        server.address,
        f"{grpcurl.SERVICE}/Run",
        data=data,
        options=["-H", "x-request-id: goes-away"],
    )
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(data)
        process.stdin.close()
        seen = b""
        while b"layer_statistics" not in seen:
            block = process.stdout.read1(65536)
            assert block, "the run ended before it could be left"
            seen += block
        process.kill()
    assert grpcurl.call(server.address, "GetModel").code == OK
    assert _log_line(server, "goes-away", "CANCELLED")


def _log_line(server, *words, seconds=5):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in server.log().splitlines():
            if all(word in line for word in words):
                return line
        time.sleep(0.05)
    raise AssertionError(f"no log line with {words}:\n{server.log()[-2000:]}")


def test_cancelled_call_stops_within_one_layer(client):
    """The caller's own cancel ends the call as CANCELLED; the next one waits for one layer, not
    for ten."""
    call = client.stub.Run(make_request(heavy.endless()))
    arrivals = []
    for response in call:
        if response.HasField("layer_statistics"):
            arrivals.append(time.monotonic())
        if len(arrivals) == 2:
            break
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    client.run({"prompts": PROMPT})
    assert time.monotonic() - arrivals[1] < 3 * (arrivals[1] - arrivals[0]) + 1


@pytest.mark.parametrize(
    "operation",
    [
        {"freeze": {}},
        {"subspace": {}},
        {"permute": {"positions": [0]}},
        {"mean": {"reference_prompts": PROMPT}},
    ],
)
def test_reserved_names_are_no_fields(server, operation):
    """Planned, and nothing of the contract until they are there: a client is told so before it
    calls."""
    (name,) = operation
    request = {
        "prompts": PROMPT,
        "interventions": [{"place": {"path": "blocks.1.hook_resid_pre"}, **operation}],
    }
    kind, field = ("Mean", "reference_prompts") if name == "mean" else ("Intervention", name)
    told = f"message type scalpel.v1.{kind} has no known field named {field}"
    with pytest.raises(AssertionError, match=told):  # grpcurl fails before the call
        grpcurl.call(server.address, "Run", request)


@pytest.mark.parametrize("method", [f"/{grpcurl.SERVICE}/Nothing", "/scalpel.v1.Nothing/Run"])
def test_unimplemented_methods(server, method):
    """grpcurl refuses to call what reflection does not list, so this call is made without it."""
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(method)(b"", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module")
def bare_server(model_dir, tmp_path_factory):
    """A model's folder without tokenizer files."""
    folder = tmp_path_factory.mktemp("no-tokenizer")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model_dir / name, folder / name)
    with Server(model=folder) as running:
        yield running


@pytest.mark.parametrize(
    "method, request_", [("Tokenize", {"text": "a"}), ("Detokenize", {"ids": [1]})]
)
def test_failed_precondition_without_a_tokenizer(bare_server, method, request_):
    answer = grpcurl.call(bare_server.address, method, request_)
    assert answer.code == FAILED_PRECONDITION


def test_token_ids_need_no_tokenizer(bare_server):
    """Text does, and the violation names it."""
    (model,) = grpcurl.call(bare_server.address, "GetModel").messages
    assert not model.get("has_tokenizer", False)
    answer = grpcurl.call(bare_server.address, "Run", {"prompts": [{"token_ids": {"ids": [1, 2]}}]})
    assert answer.code == OK
    answer = grpcurl.call(bare_server.address, "Run", {"prompts": PROMPT})
    assert answer.code == FAILED_PRECONDITION
    assert violations(answer) == ["prompts[0].text"]


def test_unavailable_while_draining(start_server):
    """After SIGTERM Watch says NOT_SERVING, new calls are refused, and what runs finishes."""
    server = start_server()
    watch = subprocess.Popen(
        grpcurl.command(server.address, "grpc.health.v1.Health/Watch"), stdout=subprocess.PIPE
    )
    with Client(server.address) as client:
        running = client.stub.Run(make_request(heavy.seconds()))
        assert next(running).HasField("started")
        assert b'"SERVING"' in _read_until(watch.stdout, b'"SERVING"')
        ended = threading.Thread(target=server.stop)
        ended.start()
        try:
            assert b"NOT_SERVING" in _read_until(watch.stdout, b"NOT_SERVING")
            error = _first_refusal(client)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            kinds = [response.WhichOneof("event") for response in running]
            assert kinds[-1] == "finished", "the run in flight was cut off"
        finally:
            ended.join()
            watch.kill()
            watch.communicate()
    assert server.process.returncode == 0


def _first_refusal(client):
    """Health speaks first: a call may still come through just after it."""
    while True:
        try:
            list(client.stub.Run(make_request({"prompts": PROMPT}), timeout=10))
        except grpc.RpcError as error:
            return error


def _read_until(pipe, word):
    seen = b""
    while word not in seen:
        block = pipe.read1(4096)
        if not block:
            break
        seen += block
    return seen
