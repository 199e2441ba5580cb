"""Frames of hostile or broken clients: floods, claims that do not hold, readers that do not read.

Memory stays within bounds meanwhile, others are served, and afterwards the server is alive.
Connections as such, pings and too much metadata are in test_connections.py.
"""

import contextlib
import struct
import threading
import time

import grpc
import pytest

from scalpel.v1 import server_status_pb2, service_pb2
from tests.fault import frames, http2
from tests.fault.alive import GOLDEN, Alive, rss_bytes
from tests.fault.calls import RUN
from tests.support.client import Client, make_request
from tests.support.server import Server
from tests.support.tokens import TokenFile

GET_MODEL = "/scalpel.v1.InterventionService/GetModel"
TOKENIZE = "/scalpel.v1.InterventionService/Tokenize"
MEBIBYTE = 1 << 20
# What the transport may hold (--transport-bytes, 256 MiB), and something beside it.
GROWTH_MAX = 400 * MEBIBYTE
KEPT_MAX = 32 * MEBIBYTE  # after an attack
OTHERS_WAIT_SECONDS = 5


class Guarded:
    """A server to be attacked by one caller, which must not keep another from being served."""

    def __init__(self, folder, *flags):
        file = TokenFile(folder / "tokens.json")
        self.attacker, self.witness = (
            file.add(name, "operator") for name in ("attacker", "witness")
        )
        self.server = Server("--tokens", str(file.path), *flags).start()
        self.client = Client(self.server.address, token=self.witness)
        self.healthy = Alive(self.server, self.client)

    def take_as_baseline(self):
        """What the allocator has kept until now is not held against what follows."""
        before, self.healthy = self.healthy, Alive(self.server, self.client)
        assert self.healthy.golden == before.golden, "the golden answer differs"

    def close(self):
        self.client.close()
        self.server.stop()

    def call(self, stream, path, message=None, *more):
        """Frames of a call of the attacker's."""
        token = (b"authorization", b"Bearer " + self.attacker.encode())
        return frames.call(stream, path, message, token, *more)

    def status(self):
        return self.client.stub.GetStatus(server_status_pb2.GetStatusRequest(), timeout=10)

    def assert_idle(self, seconds=10, connections=1):
        """Soon no call is under way, no byte reserved, and no connection open but the witness's."""
        deadline = time.monotonic() + seconds
        while not _is_idle(status := self.status(), connections):
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def assert_given_back(self, before, kept_max, seconds=15):
        """Soon no more memory is taken than `kept_max` bytes beyond `before`: what an attack took
        goes back to the system, and does not only lie unused."""
        deadline = time.monotonic() + seconds
        while (kept := rss_bytes(self.server.pid) - before) > kept_max:
            assert time.monotonic() < deadline, f"{kept / MEBIBYTE:.0f} MiB are kept"
            time.sleep(0.1)

    @contextlib.contextmanager
    def attacked(self, growth_max=GROWTH_MAX):
        """A connection of the attacker's, during which the other is served, and memory grows by no
        more than that."""
        watch = Watch(self.server, self.client)
        try:
            with frames.connection(self.server) as link:
                yield link
        finally:
            watch.end()
        assert watch.error is None, watch.error
        assert watch.longest < OTHERS_WAIT_SECONDS, f"a call took {watch.longest:.1f} s"
        grown = watch.most - watch.before
        assert grown < growth_max, f"memory grew by {grown / MEBIBYTE:.0f} MiB"


def _is_idle(status, connections):
    engine, calls = status.engine, sum(method.calls for method in status.methods)
    mine = status.connections == connections and calls == 1
    return mine and not engine.queued and not engine.running and not engine.buffered_bytes


class Watch(threading.Thread):
    """Another client's calls: how long the longest took, and the most memory that they saw."""

    def __init__(self, server, client):
        super().__init__(daemon=True)
        self.server, self.client, self.stop = server, client, threading.Event()
        self.before = self.most = rss_bytes(server.pid)
        self.longest, self.error = 0.0, None
        self.start()

    def run(self):
        try:
            while not self.stop.wait(0.02):
                begin = time.monotonic()
                self.client.model()
                self.longest = max(self.longest, time.monotonic() - begin)
                self.most = max(self.most, rss_bytes(self.server.pid))
        except grpc.RpcError as error:
            self.error = error

    def end(self):
        self.stop.set()
        self.join(60)
        assert not self.is_alive(), "a call hangs"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Guarded(tmp_path_factory.mktemp("frames"))
    yield made
    made.close()


@pytest.fixture
def guarded(shared):
    yield shared
    shared.healthy.check()


@pytest.mark.parametrize("count, whole", [(8000, False), (3000, True)])
def test_rapid_reset(guarded, count, whole):
    """rapid reset: 10^5 HEADERS+RST

    Calls that are reset at once (CVE-2023-44487): of their headers alone, and of whole requests,
    which are admitted first. gRPC 1.51 keeps some 26 KB of each until it has caught up, and knows
    no limit for that: more of them are for a proxy to fence.
    """
    message = make_request(GOLDEN).SerializeToString() if whole else None
    flood = b"".join(
        guarded.call(stream, RUN, message) + frames.reset(stream)
        for stream in range(1, 2 * count, 2)
    )
    before = rss_bytes(guarded.server.pid)
    for _ in range(3):
        with guarded.attacked() as link:
            frames.send_all(link, flood)
        guarded.assert_idle()
    guarded.assert_given_back(before, KEPT_MAX)
    guarded.take_as_baseline()


def test_endless_headers(guarded):
    """CONTINUATION flood, endless HPACK varint, 4 GB string length (CVE-2023-33953)

    A header block that never ends (CVE-2024-27316): gRPC 1.51 reads on, and keeps about twice what
    came until the connection ends.
    """
    begin = frames.frame(frames.HEADERS, 0, 1, frames.fields(RUN))
    more = frames.frame(frames.CONTINUATION, 0, 1, frames.literal(b"x-more", b"v" * 100) * 140)
    block = begin + more * 4000
    before = rss_bytes(guarded.server.pid)
    with guarded.attacked(2.5 * len(block)) as link:
        frames.send_all(link, block)
    guarded.assert_given_back(before, KEPT_MAX)


@pytest.mark.parametrize(
    "block",
    [
        b"\x00\x7f" + b"\xff" * 16,  # the length of a name, and no end of it
        b"\x00\x7f\xff\xff\xff\xff\x0f" + b"x" * 100,  # a name of 4 GiB
        b"\x00\x01x\x7f\xff\xff\xff\xff\x0f" + b"x" * 100,  # a value of 4 GiB
        b"\xff" * 20,  # an index of a table, and no end of it
        b"\xff\x80\xff\xff\xff\x0f",  # one far beyond the table
        b"\x3f\xff\xff\xff\xff\x0f",  # a table of 4 GiB, please
    ],
    ids=["endless length", "long name", "long value", "endless index", "far index", "large table"],
)
def test_claims_in_headers(guarded, block):
    """CONTINUATION flood, endless HPACK varint, 4 GB string length (CVE-2023-33953)"""
    whole = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, frames.fields(RUN) + block)
    with guarded.attacked(32 * MEBIBYTE) as link:
        assert not frames.send_all(link, whole) or frames.is_closed(link)


@pytest.mark.parametrize(
    "field",
    [
        (b"te", b"x"),
        (b":scheme", b"x"),
        (b"grpclb_client_stats", b"\x01\x02"),
        (b"x-data-bin", b"!!! not base64 !!!"),
        (b"grpc-timeout", b"99999999999999999999H"),
        (b"grpc-timeout", b"-1S"),
        (b"grpc-encoding", b"\xff\xfe"),
        (b"connection", b"keep-alive"),
    ],
    ids=lambda field: field[0].decode(),
)
def test_odd_fields_and_then_too_many(guarded, field):
    """`te: x`, `:scheme: x`, `grpclb_client_stats` then > 8 KiB (CVE-2023-1428)

    Whatever becomes of the call.
    """
    many = [(b"x-%d" % number, b"v" * 90) for number in range(100)]
    data = guarded.call(1, GET_MODEL, b"", field) + guarded.call(3, GET_MODEL, b"", field, *many)
    with guarded.attacked(32 * MEBIBYTE) as link:
        frames.send_all(link, data)
        time.sleep(0.1)


@pytest.mark.parametrize("value", [b"a\nrequest=forged", b"\xff\xfe", b"a b", b"x" * 65, b""])
def test_request_ids_that_are_none(guarded, value):
    """bad base64 in `-bin`; non-UTF-8 request id; newline in id: id replaced, log line stays one

    Or the stream is reset, where HTTP does not allow the value.
    """
    before = len(guarded.server.log())
    headers = [("authorization", f"Bearer {guarded.attacker}"), ("x-request-id", value)]
    answer = http2.call(guarded.server.address, GET_MODEL, b"", headers=headers)
    if "reset" not in answer:
        assert answer["grpc-status"] == "0"
        assert answer["x-request-id"].isalnum() and answer["x-request-id"] != value.decode("latin1")
    assert "forged" not in guarded.server.log()[before:]


def test_a_message_that_goes_on(guarded):
    """5-byte header claiming 4 GiB, then trickle: and then a flood

    As much is kept as the transport may hold.
    """
    with guarded.attacked() as link:
        link.sendall(guarded.call(1, RUN))
        body = frames.Body(link, 1)
        body.send(b"\0\xff\xff\xff\xff")
        while body.send(b"x" * 16384):
            assert body.sent < 2 * GROWTH_MAX, "so much is taken of one message"


def test_messages_that_never_end(guarded):
    """5-byte header claiming 4 GiB, then trickle

    Many claims that are admitted, of which little ever comes: what came is all that is kept.
    """
    most = 16 * MEBIBYTE - 1
    part = struct.pack(">BI", 0, most) + b"x" * 1000
    calls = b"".join(
        guarded.call(stream, RUN) + frames.frame(frames.DATA, 0, stream, part)
        for stream in range(1, 101, 2)
    )
    with guarded.attacked(), contextlib.ExitStack() as stack:
        for _ in range(50):
            assert frames.send_all(stack.enter_context(frames.connection(guarded.server)), calls)
        time.sleep(0.5)


# ---- readers ------------------------------------------------------------------

UNREAD = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}],
    "captures": [{"place": {"path": "hook_pattern"}}],
    "logits": {"none": {}},
}
UNREAD_BYTES = 12 * 12 * 256 * 256 * 4


def test_readers_that_do_not_read(tmp_path):
    """reader that never reads; window 1 byte/s

    They hold what was reserved for them and nothing more; who comes when nothing is left is
    refused; when they are gone, all is free again.
    """
    most = 5 * UNREAD_BYTES + 8 * MEBIBYTE  # five of them, and a small one
    limits = ["--max-buffered-bytes", str(most), "--max-response-bytes", str(most)]
    with contextlib.closing(Guarded(tmp_path, *limits)) as narrow:
        for _ in range(2):
            narrow.take_as_baseline()
            with narrow.attacked(most + 128 * MEBIBYTE):
                with contextlib.ExitStack() as stack:
                    _ask_and_do_not_read(narrow, stack, 12)
                    deadline = time.monotonic() + 20
                    while narrow.status().engine.buffered_bytes < 3 * UNREAD_BYTES:
                        assert time.monotonic() < deadline, narrow.status().engine
                        time.sleep(0.05)
                    while (engine := narrow.status().engine).queued or engine.running:
                        assert time.monotonic() < deadline, "the engine waits for a reader"
                        time.sleep(0.05)
                    assert engine.buffered_bytes <= most
                    narrow.client.run(GOLDEN)
                narrow.assert_idle(connections=2)
                narrow.client.run(UNREAD)
            narrow.assert_idle()
        narrow.healthy.check()


def _refused(status):
    return {refused.reason: refused.count for refused in status.rejections}["caller_calls"]


def _ask_and_do_not_read(guarded, stack, count, path=RUN, request=None):
    message = (request or make_request(UNREAD)).SerializeToString()
    for _ in range(count):
        link = stack.enter_context(frames.connection(guarded.server))
        link.sendall(guarded.call(1, path, message))


def test_answers_that_nobody_reads(tmp_path):
    """reader that never reads; window 1 byte/s

    Unary calls too count among their caller's until their answers have been taken.
    """
    request = service_pb2.TokenizeRequest(text="é中" * 3200)  # the answer is beyond HTTP/2's window
    with contextlib.closing(Guarded(tmp_path, "--max-calls-per-caller", "4")) as few:
        with few.attacked():
            with contextlib.ExitStack() as stack:
                _ask_and_do_not_read(few, stack, 8, TOKENIZE, request)
                deadline = time.monotonic() + 20
                while _refused(status := few.status()) < 4:
                    assert time.monotonic() < deadline, status
                    time.sleep(0.05)
                assert {method.method: method.calls for method in status.methods}["Tokenize"] == 4
                assert few.client.stub.Tokenize(request).ByteSize() > 65535
            few.assert_idle(connections=2)
        few.assert_idle()
        few.healthy.check()


def test_a_reader_of_single_bytes_meets_its_deadline(guarded):
    """reader that never reads; window 1 byte/s

    The deadline that it has set holds for the writing too.
    """
    request = make_request(UNREAD).SerializeToString()
    byte = struct.pack(">I", 1)
    windows = b"".join(frames.frame(frames.WINDOW_UPDATE, 0, stream, byte) for stream in (0, 1))
    with guarded.attacked() as link:
        link.sendall(guarded.call(1, RUN, request, (b"grpc-timeout", b"2S")))
        begin = time.monotonic()
        while time.monotonic() - begin < 2:
            link.sendall(windows)
            time.sleep(0.05)
        guarded.assert_idle(seconds=3, connections=2)
