"""Calls that end before their answer is complete: by a deadline, or because they are cancelled."""

import threading
import time

import pytest

import scalpel
from scalpel import (
    kl_from_clean,
    zero,
)
from tests.python.fake_server import queue_full, run_events
from tests.python.raw import LONG, PROMPT
from tests.support.client import Client

KL = kl_from_clean()


def test_a_deadline_is_a_timeout_error(model):
    with pytest.raises(TimeoutError) as raised:
        model.sweep([PROMPT] * 4, zero("z"), **LONG, timeout=0.05)
    assert isinstance(raised.value, scalpel.DeadlineExceeded)


def test_the_connections_deadline_is_that_of_each_call(server, fake):
    never = threading.Event()
    with scalpel.connect(fake.address, timeout=1.0) as model:
        fake.script["Run"] = [[never]]
        with pytest.raises(scalpel.DeadlineExceeded):
            model.run("a")
        assert model.run("a", timeout=20).top()
        never.set()


def test_leaving_a_stream_cancels_the_call(server, fake, hasty):
    first, *_ = run_events(server.address)
    never = threading.Event()
    fake.script["Run"] = [[first, never]]
    with hasty.stream("a") as events:
        next(events)
        assert not fake.ended.is_set()
    assert fake.ended.wait(5)
    never.set()


def test_a_stream_that_is_dropped_cancels_the_call(server, fake, hasty):
    first, *_ = run_events(server.address)
    never = threading.Event()
    fake.script["Run"] = [[first, never]]
    for _ in hasty.stream("a"):
        break
    assert fake.ended.wait(5)
    never.set()


def test_another_thread_can_close_a_stream(server, fake, hasty):
    first, *_ = run_events(server.address)
    never = threading.Event()
    fake.script["Run"] = [[first, never]]
    stream = hasty.stream("a")
    next(stream)
    threading.Timer(0.2, stream.close).start()
    with pytest.raises(scalpel.Cancelled):
        next(stream)
    assert fake.ended.wait(5)
    never.set()


def test_closing_ends_the_wait_for_another_attempt(fake, hasty):
    fake.script["Run"] = [queue_full(10)]
    stream = hasty.stream("a")
    threading.Timer(0.2, stream.close).start()
    begin = time.monotonic()
    with pytest.raises(scalpel.Cancelled):
        next(stream)
    assert time.monotonic() - begin < 5


def test_the_server_stops_what_is_cancelled(start_server):
    """A long sweep ends with its stream, and the engine is free."""
    server = start_server("--threads", "1")
    with scalpel.connect(server.address) as model, Client(server.address) as client:
        with model.stream_sweep([PROMPT] * 64, zero("z"), **LONG) as events:
            next(events)
        begin = time.monotonic()
        client.run({"prompts": [{"text": "a"}]})
        assert time.monotonic() - begin < 5
