"""Calls that arrive at a rate of their own, however the server fares: in raw frames, because a
client library would take the cores that the server needs."""

import dataclasses
import multiprocessing
import os
import select
import socket
import struct
import time
from collections.abc import Iterator

import hpack

from tests.fault import frames
from tests.fault.calls import RUN

_CONNECTIONS = 8
# As many as the server allows on one; more would be reset, not refused.
_STREAMS_MAX = 90
_TICK_SECONDS = 0.001
_END_SECONDS = 20
# The client remembers no headers, so that each block can be read by itself.
_HELLO = frames.HELLO[: -len(frames.frame(frames.SETTINGS, 0, 0))] + frames.frame(
    frames.SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, frames.INITIAL_WINDOW_SIZE, (1 << 31) - 1)
)
_WINDOW = frames.frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 65536))
_NICENESS = 5
_SPAWN = multiprocessing.get_context("spawn")


@dataclasses.dataclass
class Outcome:
    """How calls ended, and after how many seconds."""

    answered: list[float] = dataclasses.field(default_factory=list)
    refused: list[float] = dataclasses.field(default_factory=list)
    # The trailers of some of those that were refused.
    trailers: list[dict[str, str]] = dataclasses.field(default_factory=list)
    unsent: int = 0  # no connection had room for them
    broken: int = 0  # reset, or without an end

    def __iadd__(self, other: "Outcome") -> "Outcome":
        for field in dataclasses.fields(self):
            mine, more = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, mine + more)
        return self


class _Link:
    """One connection, and the calls that are under way on it."""

    def __init__(self, address: str, outcome: Outcome):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_HELLO + _WINDOW)
        self.socket.setblocking(False)
        self.outcome, self.frames = outcome, frames.Frames(self.socket)
        self.unsent, self.next = b"", 1
        self.began: dict[int, float] = {}
        self.has_data: set[int] = set()
        self._decoder = hpack.Decoder()

    def call(self, message: bytes, now: float) -> None:
        self.began[self.next] = now
        self.unsent += frames.call(self.next, RUN, message)
        self.next += 2
        self.flush()

    def flush(self) -> None:
        if self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            except BlockingIOError:
                return

    def read(self, now: float) -> None:
        for kind, flags, stream, payload in self.frames.arrived(0) or ():
            if kind == frames.DATA and payload:
                self.has_data.add(stream)
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                self._end(stream, payload, now)
            elif kind == frames.RST_STREAM and self.began.pop(stream, None):
                self.outcome.broken += 1
            elif kind == frames.PING and not flags & frames.ACK:
                self.unsent += frames.frame(frames.PING, frames.ACK, 0, payload)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                self.unsent += frames.frame(frames.SETTINGS, frames.ACK, 0)
        self.flush()

    def _end(self, stream: int, block: bytes, now: float) -> None:
        took = now - self.began.pop(stream)
        if stream in self.has_data:
            self.has_data.remove(stream)
            self.outcome.answered.append(took)
            return
        self.outcome.refused.append(took)
        if len(self.outcome.refused) % 50 == 1:
            self.outcome.trailers.append(dict(self._decoder.decode(block)))


def _due(rate: float, outstanding: int, links: list[_Link], begin: float) -> Iterator[int]:
    """For each tick, how many calls are to begin: those that arrive meanwhile, or as many as there
    may be at a time."""
    arrived = 0
    while True:
        if rate:
            all_in_all = int((time.monotonic() - begin) * rate)
            yield all_in_all - arrived
            arrived = all_in_all
        else:
            yield outstanding - sum(len(link.began) for link in links)


def _arrive(
    address: str, messages: list[bytes], rate: float, outstanding: int, seconds: float
) -> Outcome:
    outcome = Outcome()
    links = [_Link(address, outcome) for _ in range(_CONNECTIONS)]
    begin, number = time.monotonic(), 0
    for due in _due(rate, outstanding, links, begin):
        now = time.monotonic()
        if now > begin + seconds:
            break
        for _ in range(due):
            link = min(links, key=lambda each: len(each.began))
            if len(link.began) < _STREAMS_MAX:
                link.call(messages[number % len(messages)], now)
                number += 1
            else:
                outcome.unsent += 1
        _read(links)
    deadline = time.monotonic() + _END_SECONDS
    while any(link.began for link in links) and time.monotonic() < deadline:
        _read(links)
    for link in links:
        outcome.broken += len(link.began)
        link.socket.close()
    return outcome


def _read(links: list[_Link]) -> None:
    readable, _, _ = select.select([link.socket for link in links], [], [], _TICK_SECONDS)
    now = time.monotonic()
    for link in links:
        if link.socket in readable:
            link.read(now)
        elif link.unsent:
            link.flush()


def _process(arguments: tuple, results) -> None:
    os.nice(_NICENESS)
    results.put(_arrive(*arguments))


def arrive(
    address: str,
    messages: list[bytes],
    seconds: float,
    *,
    rate: float = 0,
    outstanding: int = 0,
    processes: int = 2,
) -> Outcome:
    """Calls of Run from several processes, with these messages in turn: so many a second, or so
    many at a time."""
    results = _SPAWN.Queue()
    shares = [messages[each::processes] for each in range(processes)]
    arguments = [
        (address, share, rate / processes, -(-outstanding // processes), seconds)
        for share in shares
    ]
    children = [
        _SPAWN.Process(target=_process, args=(each, results), daemon=True) for each in arguments
    ]
    for child in children:
        child.start()
    outcome = Outcome()
    for _ in children:
        outcome += results.get(timeout=seconds + 60)
    for child in children:
        child.join(10)
    return outcome
