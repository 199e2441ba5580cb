"""Generations as they come: what is no answer, calls that end early, and both clients."""

import asyncio
import sys
import threading
import types

import grpc
import pytest

import scalpel
from scalpel import generation, scale
from scalpel.generation_events import GeneratedToken, GenerationStarted
from scalpel.v1 import generate_pb2
from tests.python import generations
from tests.python.fake_server import Failure, queue_full
from tests.python.test_aio import with_model

TEXTS = [[" of", " France", " is"], [" of", " Spain", " is"]]
STEER = scale("resid_post", 2, layer=1)
SETTINGS = {"max_new_tokens": 8, "reuse_kv": "intervened"}


# ---- what is no answer ---------------------------------------------------------------------------


def without(events, index):
    return [event for i, event in enumerate(events) if i != index]


def read(events):
    """Reads an answer to its end, as the clients do."""
    decoder = generation.generate("a", stats={"resid_post": "std"}, **SETTINGS).decoder()
    with scalpel.errors.reading_an_answer():
        for event in events:
            list(decoder.decode(event))
        decoder.finish()


def broken():
    """Generations in each of which one thing is wrong, and what is said of it."""
    whole = generations.whole(TEXTS)
    first = whole[0]
    token, end = generations.token, generations.stream_finished
    tensor = generations.tensor(0, 0, [[1.0, 2.0]])
    cut = generate_pb2.GenerateResponse()
    cut.CopyFrom(tensor)
    cut.step.tensor_chunk.data = cut.step.tensor_chunk.data[:4]
    poor = generations.started([(0, 0, False)], response_bytes=7)
    return {
        "no start": ("token came where", whole[1:]),
        "two starts": ("started came where", [first, *whole]),
        "no end": ("before the generation was complete", whole[:-1]),
        "an end of the stream is missing": ("before the generation", without(whole, 7)),
        "something after the end": ("after the generation was complete", [*whole, whole[1]]),
        "a token is missing": ("step 2 of stream 0 came where", without(whole, 3)),
        "a token twice": ("step 0 of stream 0 came where", [*whole[:2], *whole[1:]]),
        "a stream that there is not": ("no stream 2", [first, token(2, 0, "a")]),
        "a negative stream": ("no stream -1", [first, token(-1, 0, "a")]),
        "a prompt that there is not": (
            "a prompt that there is not",
            [edited(first, streams=[{"prompt": 3}])],
        ),
        "a token after the stream's end": ("came where", [first, end(0, []), token(0, 0, "a")]),
        "other tokens at the end": ("other tokens", [first, token(0, 0, "a"), end(0, ["b"])]),
        "statistics of a later step": (
            "step 1 of stream 0",
            [first, *generations.statistics(0, 1, 1.0)],
        ),
        "a tensor that is cut": ("not complete", [first, cut, token(0, 0, "a")]),
        "a tensor twice in a step": ("sent before", [first, tensor, tensor]),
        "more bytes than were announced": ("more bytes", [poor, tensor]),
        "logits of no position": (
            "not what the contract",
            [first, generate_pb2.GenerateResponse(step={"logits": {}})],
        ),
    }


def edited(response, streams):
    made = generate_pb2.GenerateResponse()
    made.CopyFrom(response)
    made.started.ClearField("streams")
    made.started.streams.extend(generate_pb2.GenerateStream(**one) for one in streams)
    return made


@pytest.mark.parametrize("what, events", broken().values(), ids=broken())
def test_what_breaks_the_contract_is_no_answer(what, events):
    with pytest.raises(scalpel.ProtocolError, match=what):
        read(events)


def test_tensors_have_ids_of_their_own_in_each_step():
    decoder = generation.generate("a", **SETTINGS).decoder()
    events = [
        generations.started([(0, 0, False), (0, 0, True)]),
        *(generations.tensor(stream, 0, [[1.0, 2.0]]) for stream in (0, 1)),
        generations.token(0, 0, "a"),
        generations.tensor(0, 1, [[3.0, 4.0]]),
    ]
    found = [event for one in events for event in decoder.decode(one)]
    assert [(e.stream, e.step) for e in found if hasattr(e, "tensor")] == [(0, 0), (1, 0), (0, 1)]
    assert [e.tensor.clean for e in found if hasattr(e, "tensor")] == [False, True, False]


def test_events_that_are_not_known_are_skipped():
    decoder = generation.generate("a", **SETTINGS).decoder()
    first, *others = generations.whole(TEXTS)
    newer = [generate_pb2.GenerateResponse(), generate_pb2.GenerateResponse(step={"stream": 0})]
    found = [e for one in [first, *newer, *others] for e in decoder.decode(one)]
    decoder.finish()
    assert sum(isinstance(event, GeneratedToken) for event in found) == 6


# ---- calls ---------------------------------------------------------------------------------------


def test_both_clients_give_the_same(fake, hasty):
    fake.script["Generate"] = [generations.whole(TEXTS), generations.whole(TEXTS)]
    one = hasty.generate("The capital", STEER, **SETTINGS)
    other = with_model(fake.address, lambda m: m.generate("The capital", STEER, **SETTINGS))
    assert one.texts == other.texts == (" of France is", " of Spain is")
    assert fake.count("Generate") == 2


def test_tokens_come_one_by_one(fake, hasty):
    """The first is there while the server still computes."""
    gate = threading.Event()
    first, token, *others = generations.whole(TEXTS[:1])
    fake.script["Generate"] = [[first, token, gate, *others]]
    with hasty.stream_generate("The capital", STEER, **SETTINGS) as stream:
        assert isinstance(next(stream), GenerationStarted)
        assert next(stream).text == " of"
        gate.set()
        assert [e.text for e in stream if isinstance(e, GeneratedToken)] == [" France", " is"]


def test_leaving_the_loop_cancels_the_call(fake, hasty):
    never = threading.Event()
    fake.script["Generate"] = [[*generations.whole(TEXTS)[:3], never]]
    with hasty.stream_generate("The capital", STEER, **SETTINGS) as stream:
        for event in stream:
            if isinstance(event, GeneratedToken):
                break
    assert fake.ended.wait(5)
    never.set()


def test_leaving_an_asynchronous_loop_cancels_the_call(fake):
    never = threading.Event()
    fake.script["Generate"] = [[*generations.whole(TEXTS)[:3], never]]

    async def use(model):
        async with model.stream_generate("The capital", STEER, **SETTINGS) as stream:
            async for event in stream:
                if isinstance(event, GeneratedToken):
                    break
        return await asyncio.to_thread(fake.ended.wait, 5)

    assert with_model(fake.address, use)
    never.set()


@pytest.mark.parametrize("code, kind", [
    (grpc.StatusCode.DEADLINE_EXCEEDED, scalpel.DeadlineExceeded),
    (grpc.StatusCode.CANCELLED, scalpel.Cancelled),
])  # fmt: skip
def test_what_came_before_an_error_is_kept(fake, hasty, code, kind):
    events = generations.whole(TEXTS)[:6]
    fake.script["Generate"] = [[*events, Failure(code, "too late")]]
    with pytest.raises(kind) as raised:
        hasty.generate("The capital", STEER, **SETTINGS)
    partial = raised.value.partial
    assert partial.texts == (" of France is", " of Spain") and partial.finished is None
    assert partial.streams[0].finish_reason is None
    assert "cut short after 5 tokens" in repr(partial)
    assert "cut short" in partial._repr_html_()


def test_a_step_that_is_not_whole_is_not_kept(fake, hasty):
    request = generation.generate("a", stats={"resid_post": "std"}, **SETTINGS).request
    events = [
        generations.started([(0, 0, False)], request),
        *generations.statistics(0, 0, 1.0),
        generations.token(0, 0, " of"),
        generations.statistics(0, 1, 1.0)[0],  # One layer of two.
    ]
    fake.script["Generate"] = [[*events, Failure(grpc.StatusCode.DEADLINE_EXCEEDED)]]
    with pytest.raises(TimeoutError) as raised:
        hasty.generate("a", stats={"resid_post": "std"}, **SETTINGS)
    (stream,) = raised.value.partial.streams
    assert stream.stat("resid_post", "std").shape == (1, 2)


def test_a_full_server_is_asked_again(fake, hasty):
    """Keys and values of other calls take the memory: the server says when to come back."""
    fake.script["Generate"] = [queue_full(0.01), generations.whole(TEXTS)]
    assert len(hasty.generate("The capital", STEER, **SETTINGS).texts) == 2
    assert fake.count("Generate") == 2


def test_a_progress_bar_counts_tokens(fake, hasty, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, **said):
            self.said, self.n, self.unit = said, 0, said["unit"]
            bars.append(self)

        def update(self, by):
            self.n += by

        def close(self):
            self.closed_at = self.n, self.total

    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    fake.script["Generate"] = [generations.whole(TEXTS)]
    hasty.generate("The capital", STEER, progress=True, **SETTINGS)
    (bar,) = bars
    assert bar.said == {"total": 16, "unit": "token", "desc": "generate"}
    assert bar.closed_at == (6, 6), "streams may be shorter than they may be"
