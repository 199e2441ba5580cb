"""Frames of hostile or broken clients: floods, claims that do not hold, readers that do not read.

Memory stays within bounds meanwhile, others are served, and afterwards the server is alive.
Connections as such, pings and too much metadata are in test_connections.py.
"""

import contextlib
import struct
import threading
import time

import pytest

from scalpel.v1 import service_pb2
from tests.fault import frames, http2
from tests.fault.alive import GOLDEN, Alive, rss_bytes
from tests.fault.calls import RUN
from tests.support.client import Client, make_request
from tests.support.server import Server

GET_MODEL = "/scalpel.v1.InterventionService/GetModel"
MEBIBYTE = 1 << 20
# What the transport may hold (--transport-bytes, 256 MiB), and something beside it.
GROWTH_MAX = 400 * MEBIBYTE
OTHERS_WAIT_SECONDS = 5


class Witness(threading.Thread):
    """Another client of the server: how long it ever waits, and what memory it sees at most."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.stop = server, threading.Event()
        self.before = self.most = rss_bytes(server.pid)
        self.longest, self.error = 0.0, None

    def run(self):
        try:
            with Client(self.server.address) as client:
                while not self.stop.wait(0.02):
                    begin = time.monotonic()
                    client.model()
                    self.longest = max(self.longest, time.monotonic() - begin)
                    self.most = max(self.most, rss_bytes(self.server.pid))
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


@contextlib.contextmanager
def witnessed(server, growth_max=GROWTH_MAX):
    """Others are served during the block, and memory grows by no more than that."""
    witness = Witness(server)
    witness.start()
    try:
        yield
    finally:
        witness.stop.set()
        witness.join(60)
    assert witness.error is None and not witness.is_alive(), witness.error
    assert witness.longest < OTHERS_WAIT_SECONDS, f"another client waited {witness.longest:.1f} s"
    grown = witness.most - witness.before
    assert grown < growth_max, f"memory grew by {grown / MEBIBYTE:.0f} MiB"


@pytest.fixture(scope="module")
def own_server(model_dir):
    """Floods are not for the server that all tests share."""
    with Server(model=model_dir) as server, Client(server.address) as client:
        yield server, Alive(server, client)


@pytest.fixture
def flooded(own_server):
    server, healthy = own_server
    yield server
    healthy.check()


@pytest.mark.parametrize("count, whole", [(50_000, False), (3000, True)])
def test_rapid_reset(flooded, count, whole):
    """rapid reset: 10^5 HEADERS+RST

    Calls that are reset at once (CVE-2023-44487): of their headers alone, and of whole requests,
    which are admitted first.
    """
    message = make_request(GOLDEN).SerializeToString() if whole else None
    flood = b"".join(
        frames.call(stream, RUN, message) + frames.reset(stream)
        for stream in range(1, 2 * count, 2)
    )
    with witnessed(flooded), frames.connection(flooded) as link:
        frames.send_all(link, flood)
    _assert_no_work_is_left(flooded)


def _assert_no_work_is_left(server, seconds=5):
    deadline = time.monotonic() + seconds
    with Client(server.address) as client:
        while (engine := _status(client).engine).queued or engine.running or engine.buffered_bytes:
            assert time.monotonic() < deadline, engine
            time.sleep(0.05)


def _status(client):
    return client.stub.GetStatus(service_pb2.GetStatusRequest(), timeout=10)


def test_endless_headers(flooded):
    """CONTINUATION flood, endless HPACK varint, 4 GB string length (CVE-2023-33953)

    A header block that never ends (CVE-2024-27316).
    """
    begin = frames.frame(frames.HEADERS, 0, 1, frames.fields(RUN))
    more = frames.frame(frames.CONTINUATION, 0, 1, frames.literal(b"x-more", b"v" * 100) * 140)
    with witnessed(flooded, 128 * MEBIBYTE), frames.connection(flooded) as link:
        assert not frames.send_all(link, begin + more * 4000), "all 60 MiB were taken"


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
def test_claims_in_headers(flooded, block):
    """CONTINUATION flood, endless HPACK varint, 4 GB string length (CVE-2023-33953)"""
    whole = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, frames.fields(RUN) + block)
    with witnessed(flooded, 32 * MEBIBYTE), frames.connection(flooded) as link:
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
def test_odd_fields_and_then_too_many(flooded, field):
    """`te: x`, `:scheme: x`, `grpclb_client_stats` then > 8 KiB (CVE-2023-1428)

    Whatever becomes of the call.
    """
    many = [(b"x-%d" % number, b"v" * 90) for number in range(100)]
    data = frames.call(1, GET_MODEL, b"", field) + frames.call(3, GET_MODEL, b"", field, *many)
    with witnessed(flooded, 32 * MEBIBYTE), frames.connection(flooded) as link:
        frames.send_all(link, data)
        time.sleep(0.1)


@pytest.mark.parametrize("value", [b"a\nrequest=forged", b"\xff\xfe", b"a b", b"x" * 65, b""])
def test_request_ids_that_are_none(flooded, value):
    """bad base64 in `-bin`; non-UTF-8 request id; newline in id: id replaced, log line stays one

    Or the stream is reset, where HTTP does not allow the value.
    """
    before = len(flooded.log())
    answer = http2.call(flooded.address, GET_MODEL, b"", headers=[("x-request-id", value)])
    if "reset" not in answer:
        assert answer["grpc-status"] == "0"
        assert answer["x-request-id"].isalnum() and answer["x-request-id"] != value.decode("latin1")
    assert "forged" not in flooded.log()[before:]


def test_message_that_claims_4_gib(flooded):
    """5-byte header claiming 4 GiB, then trickle: the claim is enough"""
    data = frames.call(1, RUN) + frames.frame(frames.DATA, 0, 1, b"\0\xff\xff\xff\xff" + b"x" * 99)
    with witnessed(flooded, 32 * MEBIBYTE), frames.connection(flooded) as link:
        frames.send_all(link, data)
        assert b"\x018" in _read(link, b"grpc-status"), "no RESOURCE_EXHAUSTED"


def _read(link, word, seconds=10):
    """What the server sends until the word is in it; it is not compressed in gRPC's trailers."""
    seen, deadline = b"", time.monotonic() + seconds
    link.settimeout(seconds)
    while word not in seen and time.monotonic() < deadline:
        if not (data := link.recv(65536)):
            break
        seen += data
    return seen


def test_messages_that_never_end(flooded):
    """5-byte header claiming 4 GiB, then trickle

    Claims that are admitted, of which little ever comes: what came is all that is kept.
    """
    most = 16 * MEBIBYTE - 1
    with witnessed(flooded), contextlib.ExitStack() as stack:
        for _ in range(50):
            link = stack.enter_context(frames.connection(flooded))
            part = struct.pack(">BI", 0, most) + b"x" * 1000
            calls = (
                frames.call(stream, RUN) + frames.frame(frames.DATA, 0, stream, part)
                for stream in range(1, 101, 2)
            )
            assert frames.send_all(link, b"".join(calls))
        time.sleep(0.5)


# ---- readers ------------------------------------------------------------------

UNREAD = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}],
    "captures": [{"place": {"path": "hook_pattern"}}],
    "logits": {"none": {}},
}
UNREAD_BYTES = 12 * 12 * 256 * 256 * 4


@pytest.fixture
def narrow(start_server):
    """A server that may hold a few answers that nobody reads."""
    most = str(5 * UNREAD_BYTES)
    server = start_server("--max-buffered-bytes", most, "--max-response-bytes", most)
    with Client(server.address) as client:
        healthy = Alive(server, client)
        yield server, client
        healthy.check()


def test_readers_that_do_not_read(narrow):
    """reader that never reads; window 1 byte/s

    They hold what was reserved for them and nothing more; who comes when nothing is left is
    refused; when they are gone, all is free again.
    """
    server, client = narrow
    request = make_request(UNREAD).SerializeToString()
    with witnessed(server, 6 * UNREAD_BYTES), contextlib.ExitStack() as stack:
        links = [stack.enter_context(frames.connection(server)) for _ in range(12)]
        for link in links:
            link.sendall(frames.call(1, RUN, request))
        deadline = time.monotonic() + 20
        while _status(client).engine.buffered_bytes < 3 * UNREAD_BYTES:
            assert time.monotonic() < deadline, _status(client).engine
            time.sleep(0.05)
        time.sleep(0.5)
        engine = _status(client).engine
        assert engine.buffered_bytes <= 5 * UNREAD_BYTES
        assert not engine.queued and not engine.running, "the engine waits for a reader"
        client.run(GOLDEN)
    _assert_no_work_is_left(server)
    client.run(UNREAD)


def test_a_reader_of_single_bytes_meets_its_deadline(flooded):
    """reader that never reads; window 1 byte/s

    The deadline that it has set holds for the writing too.
    """
    request = make_request(UNREAD).SerializeToString()
    with frames.connection(flooded) as link:
        link.sendall(frames.call(1, RUN, request, (b"grpc-timeout", b"2S")))
        begin = time.monotonic()
        while time.monotonic() - begin < 2:
            byte = struct.pack(">I", 1)
            window = b"".join(
                frames.frame(frames.WINDOW_UPDATE, 0, stream, byte) for stream in (0, 1)
            )
            link.sendall(window)
            time.sleep(0.05)
        _assert_no_work_is_left(flooded, seconds=3)
