"""How a server leaves, seen from its connections."""

import signal
import socket
import time

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from scalpel.v1 import service_pb2
from tests.support.channel import open_channel
from tests.support.client import Client, make_request
from tests.support.server import is_serving

WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
# More bytes than a connection holds unread, so that the call is under way until it is read.
LARGE = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}] * 8,
    "captures": [{"place": {"path": "hook_pattern"}}],
}


def test_clients_are_told_to_go_while_a_call_goes_on(start_server):
    """SIGTERM with unary and stream in flight: in-flight finish OK; new ones UNAVAILABLE"""
    server = start_server()
    with Client(server.address) as client, Client(server.address) as other:
        other.stub.GetModel(service_pb2.GetModelRequest(), timeout=5)
        call = client.stub.Run(make_request(LARGE), timeout=60)
        assert next(call).HasField("started")
        with _idle_connection(server) as (link, connection):
            server.process.send_signal(signal.SIGTERM)
            assert _goaway(link, connection), "no GOAWAY"
        assert server.process.poll() is None, "it did not wait for the call"
        for asks in (other, client):
            with pytest.raises(grpc.RpcError) as refused:
                asks.stub.GetModel(service_pb2.GetModelRequest(), timeout=5)
            assert refused.value.code() == UNAVAILABLE
        assert not is_serving(server.address), "it takes new connections"
        events = list(call)
        assert events[-1].HasField("finished") and call.code() == grpc.StatusCode.OK
    assert server.process.wait(10) == 0


class _idle_connection:
    """A connection in raw frames, on which nothing is asked."""

    def __init__(self, server):
        self.link = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))

    def __enter__(self):
        self.connection.initiate_connection()
        self.link.sendall(self.connection.data_to_send())
        self.connection.receive_data(self.link.recv(65536))
        self.link.sendall(self.connection.data_to_send())
        return self.link, self.connection

    def __exit__(self, *_):
        self.link.close()


def _goaway(link, connection):
    """Reads until the server says GOAWAY, or ends."""
    while data := link.recv(65536):
        events = connection.receive_data(data)
        if any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
            return True
        link.sendall(connection.data_to_send())
    return False


def test_connections_without_calls_do_not_hold_it_up(start_server):
    """SIGTERM: exit 0 within grace

    Not those that never said a word, nor those that answer nothing any more, nor watchers.
    """
    server = start_server()
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        _idle_connection(server),
        open_channel(server.address) as channel,
    ):
        watch = channel.unary_stream(WATCH)(b"", timeout=30)
        assert next(watch) == SERVING
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        assert list(_until_error(watch)) == [NOT_SERVING]


def _until_error(call):
    try:
        yield from call
    except grpc.RpcError:
        pass
