"""Sharing chunks out: no server, and no chunk is lost or done twice."""

import threading

import pytest

from scalpel import errors
from scalpel.chunks import Chunk
from scalpel.v1 import sweep_pb2
from scalpel.work import Work


def chunks(count):
    return [Chunk(i, 1, sweep_pb2.SweepRequest()) for i in range(count)]


class Counter:
    def __init__(self):
        self.total = 0

    def add(self, variants):
        self.total += variants


def test_chunks_come_in_order_and_end():
    work = Work(chunks(3))
    assert [work.take().first for _ in range(3)] == [0, 1, 2]
    for chunk in reversed(chunks(3)):
        work.done(chunk, [])
    assert work.take() is None
    progress = Counter()
    work.wait(1, progress)
    assert progress.total == 3
    assert [chunk.first for chunk, _ in work.answers] == [2, 1, 0]


def test_many_workers_do_each_chunk_once():
    work = Work(chunks(500))

    def do(stumbles):
        while (chunk := work.take()) is not None:
            if stumbles and chunk.first % 7 == 0:
                stumbles -= 1
                work.give_back(chunk)
            else:
                work.done(chunk, [chunk.first])

    threads = [threading.Thread(target=do, args=[stumbles]) for stumbles in (0, 5, 50, 0)]
    for thread in threads:
        thread.start()
    work.wait(len(threads))
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(chunk.first for chunk, _ in work.answers) == list(range(500))


def test_what_is_given_back_wakes_who_waits():
    work = Work(chunks(1))
    chunk = work.take()
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(work.take()))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive(), "the chunk may still come back"
    work.give_back(chunk)
    waiting.join(10)
    assert taken == [chunk]


def test_a_pause_ends_with_the_work():
    work = Work(chunks(1))
    chunk = work.take()
    threading.Timer(0.1, work.done, [chunk, []]).start()
    assert work.take(pause=60) is None


def test_it_ends_when_every_worker_has_left():
    work = Work(chunks(2))
    work.done(work.take(), [])
    work.leave(errors.Unavailable("first"))
    waiting = threading.Timer(0.1, work.leave, [errors.Unavailable("second")])
    waiting.start()
    with pytest.raises(errors.Unavailable, match="second"):
        work.wait(2)
    assert len(work.answers) == 1


def test_a_failure_ends_it_for_all():
    work = Work(chunks(2))
    work.take()
    work.fail(errors.InvalidArgument("no"))
    assert work.take() is None
    with pytest.raises(errors.InvalidArgument):
        work.wait(2)


def test_a_closed_one_gives_out_nothing():
    work = Work(chunks(2))
    work.close()
    assert work.take() is None
