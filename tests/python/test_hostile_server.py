"""What the client makes of an answer that no server should give: an exception of its own, soon, and
without memory for what is only announced."""

import collections
import random
import resource
import time

import grpc
import pytest

import scalpel
from scalpel import calls, generation
from scalpel.reading import Reading
from scalpel.v1 import run_pb2, service_pb2_grpc
from tests.python.mutations import mutated
from tests.python.raw_server import RawServer

SEED, STREAMS = 7, 2000
GROWTH_MAX = 300 << 20
PROMPT = "When Mary and John went to the store"
RUNS = [
    {"stats": {"pattern": "entropy", "resid_post": ["std", "mean"]}, "clean": True},
    {"capture": ["q", "resid_post"], "logits": "full"},
    {"block_outputs": True, "output_attentions": True, "output_hidden_states": True},
    {"stats": scalpel.probe("z", "std", keep="head", quantiles=[0.5], histogram=(5, -1, 1))},
]


def _calls():
    prompts = [PROMPT, [1, 2, 3]]
    yield from (calls.run(prompts, scalpel.zero("z", layer=2), **options) for options in RUNS)
    yield calls.validation(calls.run(prompts), scalpel.events.Started)
    metrics = [scalpel.kl_from_clean(), scalpel.top_k(3)]
    yield calls.sweep(
        PROMPT, scalpel.zero("z"), over=["layers"], metrics=metrics, stats={"z": "std"}
    )
    variants = {"a": scalpel.zero("z"), "b": scalpel.scale("z", 2)}
    yield calls.sweep(prompts, variants=variants, metrics=metrics, reports=True)
    yield generation.generate(
        prompts, scalpel.zero("z", layer=2), max_new_tokens=3, reuse_kv="intervened",
        unsteered=True, stats={"z": "std"}, capture=scalpel.capture("q", layer=1), logits=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorded(server):
    """Calls, each with what a real server answers."""
    with grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        return [(call, list(getattr(stub, call.method)(call.request))) for call in _calls()]


@pytest.fixture
def read(model):
    """The result of a call that is answered so."""
    return lambda call, responses: _read(model.settings, call, responses)


def _read(settings, call, responses):
    reading = Reading(settings, call)
    for response in responses:
        reading.take(response)
    reading.take(None)
    return call.result(list(reading.pending))


def test_what_is_recorded_is_read(recorded, read):
    for call, responses in recorded:
        assert repr(read(call, responses))


def test_changed_streams_raise_what_is_the_clients_own(recorded, read):
    """Two thousand of them: each is read, or refused as what it is."""
    dice, outcomes = random.Random(SEED), collections.Counter()
    others = {
        method: [one for call, all_ in recorded if call.method == method for one in all_]
        for method in {call.method for call, _ in recorded}
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for number in range(STREAMS):
        call, responses = recorded[number % len(recorded)]
        stream = mutated(dice, responses, others[call.method])
        begin = time.perf_counter()
        try:
            read(call, stream)
            outcomes["read"] += 1
        except scalpel.ScalpelError as error:
            assert str(error), f"stream {number} is refused without a word"
            outcomes[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"stream {number}: {error!r}") from error
        assert time.perf_counter() - begin < 2, f"stream {number} takes long"
    assert set(outcomes) == {"read", "ProtocolError"}, outcomes
    assert min(outcomes.values()) > STREAMS / 10, outcomes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    assert grown < GROWTH_MAX, f"{grown >> 20} MiB"


# ---- over a connection -------------------------------------------------------------------------


@pytest.fixture
def hostile():
    """A server that answers with bytes, and a client of it without patience."""
    retry = scalpel.Retry(attempts=1)
    with RawServer() as server:
        yield server, scalpel.connect(server.address, retry=retry, timeout=2)


def started(**fields):
    return run_pb2.RunResponse(started=run_pb2.Started(request_id="r", **fields))


def _announced():
    """A tensor of 2^60 bytes, of which the first comes."""
    response = run_pb2.RunResponse()
    header = response.tensor_chunk.header
    header.dtype, header.size_bytes = 1, 1 << 60
    header.shape.extend([1 << 29, 1 << 29])
    response.tensor_chunk.data = b"x"
    return [started(cost=run_pb2.Cost(response_bytes=1 << 62)), response]


def _bytes(responses):
    return [response.SerializeToString() for response in responses]


ANSWERS = {
    "no message": [b"\xff" * 100],
    "a field cut off": [started().SerializeToString()[:-1]],
    "text that is no UTF-8": [b"\x0a\x04\x0a\x02\xff\xfe"],
    "an empty stream": [],
    "empty messages": [b""] * 3,
    "a start and no more": _bytes([started()]),
    "no start": _bytes([run_pb2.RunResponse(finished=run_pb2.Finished())]),
    "2^60 bytes announced": _bytes(_announced()),
    "a message of 64 MiB": [b"\x7a\xff\xff\xff\x1f" + b"x" * (64 << 20)],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none(hostile, name):
    server, model = hostile
    server.answer = lambda: iter(ANSWERS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with pytest.raises(scalpel.ScalpelError) as caught:
        model.run(PROMPT)
    assert str(caught.value)
    with pytest.raises(scalpel.ScalpelError):
        model.sweep(PROMPT, scalpel.zero("z"), over="layers", metrics=scalpel.kl_from_clean())
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < GROWTH_MAX


def _endless(response):
    while True:
        yield response.SerializeToString()
        time.sleep(0.001)


@pytest.mark.parametrize("first", [[], [started()]], ids=["at once", "after the start"])
@pytest.mark.parametrize("then", ["silence", "events"])
def test_a_stream_without_end_ends_with_the_timeout(hostile, first, then):
    server, model = hostile
    report = run_pb2.RunResponse(layer_statistics={})

    def answer():
        yield from _bytes(first)
        if then == "events":
            yield from _endless(report if first else started())
        server.stopped.wait(20)

    server.answer = answer
    begin = time.monotonic()
    with pytest.raises(scalpel.ScalpelError) as caught:
        model.run(PROMPT)
    assert time.monotonic() - begin < 2 + 2
    if first or then == "silence":
        assert isinstance(caught.value, scalpel.DeadlineExceeded)


@pytest.mark.parametrize("method", ["tokenize", "detokenize", "status"])
def test_an_answer_of_a_unary_call_that_is_none(hostile, method):
    server, model = hostile
    server.answer = lambda: iter([b"\xff" * 100])
    arguments = {"tokenize": ["a"], "detokenize": [[1]], "status": []}[method]
    with pytest.raises(scalpel.ScalpelError):
        getattr(model, method)(*arguments)
