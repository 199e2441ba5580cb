"""More connections than there is room for, and connections that keep quiet or chatter."""

import contextlib
import socket
import time

import grpc
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from tests.fault.alive import GOLDEN, open_files
from tests.fault.calls import RUN
from tests.support.channel import open_channel
from tests.support.client import Client, make_request
from tests.support.server import is_serving

PATIENCE_SECONDS = 10
HANDSHAKE_SECONDS = 20  # in which a connection must have said what it wants
ENHANCE_YOUR_CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def is_closed(link):
    """Whether the server has ended it; a server that speaks sends its settings first."""
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


def settles(condition, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_more_connections_than_descriptors(start_server):
    """4000 idle connections with RLIMIT_NOFILE 1024 (CVE-2023-4785)

    Here 400 with 256: those beyond the room are refused, and all is well when they have gone.
    """
    server = start_server(runner=["prlimit", "--nofile=256:256"])
    assert "--max-connections" in server.log(), "it must say that there are fewer than wanted"
    with Client(server.address) as client, contextlib.ExitStack() as stack:
        golden = client.run(GOLDEN).content()
        before = open_files(server.pid)
        links = [stack.enter_context(connect(server)) for _ in range(400)]
        assert settles(lambda: sum(map(_has_ended, links)) >= 400 - (256 - before))
        assert open_files(server.pid) < 256 - 16, "too few are left for files"
        assert not is_serving(server.address), "a connection more was taken"
        assert client.run(GOLDEN).content() == golden, "who was there before is not served"
        assert "connections are open, the most allowed" in server.log()
        stack.close()
        assert settles(lambda: is_serving(server.address)), "it takes no connections any more"
        assert settles(lambda: open_files(server.pid) <= before + 1)
        assert client.run(GOLDEN).content() == golden
    assert server.stop() == 0


def _has_ended(link):
    link.settimeout(0)
    try:
        return link.recv(64) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_limit_of_connections(start_server):
    """more than max in flight + queue: connections have a limit of their own"""
    server = start_server("--max-connections", "3")
    held = [connect(server) for _ in range(3)]
    try:
        with connect(server) as more:
            assert is_closed(more)
        held.pop().close()
        assert settles(lambda: is_serving(server.address))
    finally:
        for link in held:
            link.close()


def test_a_connection_that_says_nothing_is_closed(server):
    """4000 idle connections: nobody holds one for long without a word"""
    with connect(server) as link:
        link.settimeout(HANDSHAKE_SECONDS + PATIENCE_SECONDS)
        began = time.monotonic()
        while link.recv(4096):
            pass
        assert time.monotonic() - began > HANDSHAKE_SECONDS / 2


def test_pings_without_need(faulty, server):
    """ping every 100 ms without data"""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    with connect(server) as link:
        link.settimeout(0.1)
        ended = None
        for number in range(100):
            connection.ping(number.to_bytes(8, "big"))
            link.sendall(connection.data_to_send())
            with contextlib.suppress(TimeoutError):
                for event in connection.receive_data(link.recv(65536)):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        ended = event
            if ended:
                break
    assert ended and ended.error_code == ENHANCE_YOUR_CALM
    assert ended.additional_data == b"too_many_pings"


@pytest.mark.parametrize("count, size", [(1, 64 << 10), (10_000, 8)])
def test_too_much_metadata(faulty, server, count, size):
    """metadata 64 KiB; 10^4 headers"""
    metadata = [(f"x-{number}", "v" * size) for number in range(count)]
    request = make_request(GOLDEN).SerializeToString()
    with open_channel(server.address) as channel:
        call = channel.unary_stream(RUN)(request, metadata=metadata, timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert caught.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )


def test_metadata_up_to_the_limit(faulty, server):
    """The control of the above."""
    metadata = [("x-long", "v" * 12_000)]
    list(faulty.stub.Run(make_request(GOLDEN), metadata=metadata, timeout=20))
