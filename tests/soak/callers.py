"""Processes of callers, so that many clients do not wait for one interpreter. Theirs is the lower
priority: what is measured is the server."""

import collections
import dataclasses
import multiprocessing
import os
import queue
import random
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import grpc

from tests.fault.calls import refusal
from tests.soak.acts import BUSY, COMPARED, ROLES, Act, Code, Known, WrongBytes
from tests.support.client import Client

_NICENESS = 5
_THREADS_OF_A_PROCESS = 16
# A call that takes longer hangs. On a machine that others keep busy, a sweep may take a minute.
_CALL_SECONDS = 180
# Even in the middle of a call, a caller ends within so many seconds of being told to.
_END_SECONDS = _CALL_SECONDS + 30
_PROBE_SECONDS = 0.02
# Between two acts, at most: those who are always refused would take the machine from the others.
_PAUSE_SECONDS = 0.02
_SPAWN = multiprocessing.get_context("spawn")


@dataclasses.dataclass(frozen=True)
class Role:
    """A caller: what it does, as ROLES names it, and by which token."""

    name: str
    token: str


@dataclasses.dataclass
class Met:
    """What callers met: how often each act ended in each code, and what should not have been."""

    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    wrong: list[str] = dataclasses.field(default_factory=list)  # ends that are not admissible
    differed: list[str] = dataclasses.field(default_factory=list)  # answers of other bytes

    @property
    def compared(self) -> int:
        return sum(self.counts[act, Code.OK] for act in COMPARED)

    def __iadd__(self, other: "Met") -> "Met":
        self.counts += other.counts
        self.wrong += other.wrong
        self.differed += other.differed
        return self


class Caller(threading.Thread):
    """Does all of its acts in a random order, then in another, until told to stop: so that none is
    left out by chance."""

    def __init__(self, address: str, role: Role, known: Known, seed: int, stop: Event):
        super().__init__(daemon=True)
        self.client = Client(address, timeout_seconds=_CALL_SECONDS, token=role.token)
        self.acts, self.known = ROLES[role.name], known
        self.dice, self.stop, self.met = random.Random(seed), stop, Met()

    def run(self) -> None:
        with self.client:
            while not self.stop.is_set():
                for act in self.dice.sample(self.acts, len(self.acts)):
                    if not self.stop.is_set():
                        self._act(act)

    def _act(self, act: Act) -> None:
        wait = 0.0
        try:
            act.do(self.client, self.dice, self.known)
            code: Code | str = Code.OK
        except WrongBytes as difference:
            code = Code.OK
            self.met.differed.append(str(difference))
        except grpc.RpcError as error:
            code = error.code()
            if code == BUSY and not act.for_good:
                wait = self._retry_delay(act, error)
        except Exception as error:
            code = repr(error)  # in which no act may end
        self.met.counts[act.name, code] += 1
        if code not in act.codes:
            self.met.wrong.append(f"{act.name}: {code}")
        self.stop.wait(self.dice.uniform(0, max(wait, _PAUSE_SECONDS)))

    def _retry_delay(self, act: Act, error: grpc.RpcError) -> float:
        """Seconds, as the refusal says; one that does not say them is wrong."""
        details = refusal(error).details
        if "RetryInfo" not in details:
            self.met.wrong.append(f"{act.name}: {error.details()}, without RetryInfo")
            return 0.5
        return details["RetryInfo"].retry_delay.ToTimedelta().total_seconds()


def _call(
    address: str, roles: list[Role], known: Known, seed: int, stop: Event, results: Queue
) -> None:
    """A process of callers."""
    os.nice(_NICENESS)
    callers = [
        Caller(address, role, known, seed + number, stop) for number, role in enumerate(roles)
    ]
    for caller in callers:
        caller.start()
    met = Met()
    for caller in callers:
        caller.join()
        met += caller.met
    results.put(met)


def _probe(address: str, token: str, stop: Event, results: Queue) -> None:
    """The process of small calls: when each began, and how many seconds it took."""
    found = []
    with Client(address, token=token) as client:
        while not stop.is_set():
            begin = time.monotonic()
            client.tokenize("a few words")
            found.append((begin, time.monotonic() - begin))
            stop.wait(_PROBE_SECONDS)
    results.put(found)


class Crowd:
    """All callers of a server, and the small calls beside them; from `start` to `stop`."""

    def __init__(self, address: str, roles: list[Role], reader: str, known: Known):
        self._stop = _SPAWN.Event()
        self._met: Queue = _SPAWN.Queue()
        self._calls: Queue = _SPAWN.Queue()
        # Each process has callers of all kinds.
        groups = -(-len(roles) // _THREADS_OF_A_PROCESS)
        self._processes = [
            _SPAWN.Process(
                target=_call,
                args=(address, roles[group::groups], known, 1000 * group, self._stop, self._met),
                daemon=True,
            )
            for group in range(groups)
        ]
        self._small = _SPAWN.Process(
            target=_probe, args=(address, reader, self._stop, self._calls), daemon=True
        )

    def start(self) -> None:
        for process in [*self._processes, self._small]:
            process.start()

    def stop(self) -> tuple[Met, list[tuple[float, float]]]:
        """What the callers met, and the small calls. A call that hangs is wrong."""
        self._stop.set()
        met, calls = Met(), []
        deadline = time.monotonic() + _END_SECONDS
        try:
            for _ in self._processes:
                met += self._met.get(timeout=max(0.1, deadline - time.monotonic()))
            calls = self._calls.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            met.wrong.append("a call hangs, or a process of callers died")
        for process in [*self._processes, self._small]:
            process.join(5)
            if process.is_alive():
                process.kill()
        return met, calls
