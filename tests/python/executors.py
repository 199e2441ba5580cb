"""What every executor must do for a sweep, and what must not stop one: for the tests of each."""

import collections
import os
import pathlib
import re
import signal
import threading
import time
import uuid

import pytest

import scalpel
from scalpel import Retry, kl_from_clean, spread, zero
from tests.python.fake_server import FakeServer
from tests.python.raw import LONG, PROMPT
from tests.python.test_aio import same

KL = kl_from_clean()
HEADS = {"over": ["layers", "heads"], "metrics": KL}
HASTY = Retry(attempts=3, first_pause=0.01)


def check_executor(servers, model, executor):
    """The answer is the same, and so is what is wrong."""
    with spread.connect([one.address for one in servers], executor=executor) as replicas:
        same(replicas.sweep(PROMPT, zero("z"), **HEADS), model.sweep(PROMPT, zero("z"), **HEADS))
        with pytest.raises(scalpel.InvalidArgument) as raised:
            replicas.sweep(PROMPT, zero("k", layer=12), over="heads", metrics=KL)
    assert type(raised.value) is scalpel.InvalidArgument
    assert [one.argument for one in raised.value.violations] == ["interventions.layer"]


# ---- a worker that dies --------------------------------------------------------------------------


class Holding(FakeServer):
    """Keeps its first chunk waiting until `go` is set."""

    def __init__(self, address):
        super().__init__(address)
        self.holds, self.go = threading.Event(), threading.Event()

    def Sweep(self, request, context):
        if not request.validate_only and not self.holds.is_set():
            self.ended.clear()
            context.add_callback(self.ended.set)
            self.holds.set()
            self.go.wait(60)
        yield from super().Sweep(request, context)


class Noting:
    """An executor whose workers note in a folder, by their process, that they make a call."""

    def __init__(self, executor, folder: pathlib.Path):
        self._executor, self._folder = executor, folder

    def submit(self, fn, /, *args):
        return self._executor.submit(_noted, self._folder, fn, *args)

    def busy(self) -> list[int]:
        return [int(path.name) for path in self._folder.iterdir()]


def _noted(folder, fn, *args):
    note = folder / str(os.getpid())
    note.touch()
    try:
        return fn(*args)
    finally:
        note.unlink()


def check_killed_worker(server, model, executor, folder):
    """Of two workers, each in a call, one is killed. Only its call is made again."""
    noting = Noting(executor, folder)
    killed = []

    def kill_one(fakes):
        assert all(fake.holds.wait(60) for fake in fakes)
        busy = noting.busy()
        if len(busy) == 2:
            os.kill(busy[0], signal.SIGKILL)
            killed.append(busy[0])
        for fake in fakes:
            fake.go.set()

    with Holding(server.address) as one, Holding(server.address) as other:
        addresses = [one.address, other.address]
        with spread.connect(addresses, executor=noting, chunk=12) as replicas:
            killer = threading.Thread(target=kill_one, args=[(one, other)], daemon=True)
            killer.start()
            mine = replicas.sweep(PROMPT, zero("z"), **HEADS)
            killer.join(60)
        calls = one.count("Sweep") + other.count("Sweep")
    assert killed, "two calls were under way"
    same(mine, model.sweep(PROMPT, zero("z"), **HEADS))
    assert calls == 1 + 12 + 1, "the validation, the chunks, and the one that died with its worker"


# ---- a server that dies --------------------------------------------------------------------------


def answered(server) -> int:
    """How many sweeps, chunks and validations a server has answered."""
    return len(re.findall("method=Sweep .*code=OK", server.log()))


def chunks_answered(sweep: str, *servers) -> collections.Counter:
    """How often each chunk of a sweep was answered, but for the first, whose name validations have
    too."""
    pattern = rf"request={sweep}\.([1-9]\d*) method=Sweep .*code=OK"
    return collections.Counter(one for each in servers for one in re.findall(pattern, each.log()))


def check_killed_server(server, dying, model, executor=None):
    """Killed as soon as it has done two chunks, one of which may be the validation. Its chunks are
    done by the other, and those that it has done are not done again."""
    prompts, killed, name = [PROMPT] * 4, [], uuid.uuid4().hex

    def kill_midway():
        for _ in range(20000):
            if answered(dying) >= 2:
                dying.kill()
                killed.append(time.monotonic())
                return
            time.sleep(0.002)

    addresses = [server.address, dying.address]
    with spread.connect(addresses, retry=HASTY, executor=executor) as replicas:
        killer = threading.Thread(target=kill_midway, daemon=True)
        killer.start()
        mine = replicas.sweep(prompts, zero("z"), **LONG, request_id=name)
        ended = time.monotonic()
        killer.join(60)
    assert killed and killed[0] < ended, "it was killed midway"
    times = chunks_answered(name, server, dying)
    assert len(times) == 23 and times.total() <= 24, "at most the chunk that was cut off, twice"
    same(mine, model.sweep(prompts, zero("z"), **LONG))
