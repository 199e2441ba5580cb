"""How a server leaves, seen from its connections."""

import contextlib
import signal
import socket
import threading
import time

import grpc
import h2.config
import h2.connection
import pytest

from scalpel.v1 import model_pb2
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


def ask(client):
    """How GetModel ends, and with which words."""
    with pytest.raises(grpc.RpcError) as refused:
        client.stub.GetModel(model_pb2.GetModelRequest(), timeout=5)
    return refused.value.code(), refused.value.details()


def test_who_is_refused_is_sent_elsewhere_while_a_call_goes_on(start_server):
    """SIGTERM with unary and stream in flight: in-flight finish OK; new ones UNAVAILABLE

    Whoever is refused loses the connection too, unless a call is under way there: a client's second
    attempt must reach another replica, and not this one again.
    """
    server = start_server()
    with Client(server.address) as client, Client(server.address) as other:
        other.stub.GetModel(model_pb2.GetModelRequest(), timeout=5)
        call = client.stub.Run(make_request(LARGE), timeout=60)
        assert next(call).HasField("started")
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while is_serving(server.address):
            assert time.monotonic() < deadline
        code, words = ask(other)
        assert code == UNAVAILABLE and "another replica" in words
        while "another replica" in words:
            assert time.monotonic() < deadline, "it is still connected"
            time.sleep(0.1)
            code, words = ask(other)
            assert code == UNAVAILABLE
        assert ask(client)[0] == UNAVAILABLE
        assert server.process.poll() is None, "it did not wait for the call"
        events = list(call)
        assert events[-1].HasField("finished") and call.code() == grpc.StatusCode.OK
    assert server.process.wait(10) == 0


def _go_on_asking(address, stop, codes):
    request = make_request({"prompts": [{"token_ids": {"ids": [1, 2]}}]})
    with Client(address) as client:
        while not stop.is_set():
            call = client.stub.Run(request, timeout=5)
            with contextlib.suppress(grpc.RpcError):
                list(call)
            codes.add(call.code())


def test_who_goes_on_asking_is_answered_each_time(start_server):
    """SIGTERM with unary and stream in flight: in-flight finish OK; new ones UNAVAILABLE

    gRPC's clients try again by themselves what a GOAWAY says was not looked at, and can then wait
    beyond their deadlines for a port that is closed; so there must be none at the end.
    """
    for _ in range(3):
        server, stop, codes = start_server(), threading.Event(), set()
        arguments = server.address, stop, codes
        callers = [
            threading.Thread(target=_go_on_asking, args=arguments, daemon=True) for _ in range(6)
        ]
        for caller in callers:
            caller.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        time.sleep(0.2)
        stop.set()
        for caller in callers:
            caller.join(10)
            assert not caller.is_alive(), "a call has no end"
        assert codes == {grpc.StatusCode.OK, UNAVAILABLE}


@contextlib.contextmanager
def _idle_connection(server):
    """A connection on which nothing is asked, and nothing answered."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(connection.data_to_send())
        yield


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
        seen = []
        watcher = threading.Thread(target=lambda: seen.extend(_until_error(watch)))
        watcher.start()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        watcher.join()
        assert seen == [NOT_SERVING]


def _until_error(call):
    with contextlib.suppress(grpc.RpcError):
        yield from call
