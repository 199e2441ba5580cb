"""Clients of the metrics port that hold connections: a scrape is answered whatever they do."""

import contextlib
import re
import socket
import time

import pytest

from tests.e2e.insight import METRICS, scrape
from tests.fault.alive import Alive, open_files
from tests.support.client import Client
from tests.support.server import Server

SCRAPE_SECONDS = 1
CONNECTIONS_MAX = 32  # that the port keeps
HALF = b"GET /metrics HTTP/1.1\r\nHost: x"
# What a client may do, with how many connections: what it sends on each of them.
CLIENTS = {
    "silent": (100, b""),
    "half a request line": (100, b"GET /met"),
    "half a header": (100, HALF),
    "answers unread": (100, HALF + b"\r\n\r\n"),
    "many requests at once": (20, (HALF + b"\r\n\r\n") * 1000),
    "a body without end": (20, HALF + b"\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 10_000),
    "a header without end": (20, HALF + b"x" * 100_000),
    "no HTTP": (20, b"\x16\x03\x01\x02\x00" + b"\xff" * 1000),
}


@pytest.fixture(scope="module")
def watched():
    with Server(*METRICS) as server, Client(server.address) as client:
        yield Alive(server, client)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_scrape_is_answered_whatever_others_do(watched: Alive, name: str) -> None:
    count, sent = CLIENTS[name]
    server = watched.server
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/metrics", server.log())[1])
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            with contextlib.suppress(ConnectionError):
                link.sendall(sent)
        assert min(_scrape_seconds(server) for _ in range(3)) < SCRAPE_SECONDS
        assert open_files(server.pid) <= watched.files + 2 * CONNECTIONS_MAX
    watched.check()


def _scrape_seconds(server: Server) -> float:
    begin = time.monotonic()
    assert scrape(server)["process_open_fds"] > 0
    return time.monotonic() - begin
