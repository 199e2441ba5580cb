"""From start to end: when a server is ready, how it ends, and what a probe hears meanwhile.

How its connections see the end is in test_drain.py.
"""

import signal
import socket
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e import heavy
from tests.fault import model_folders
from tests.fault.calls import refused
from tests.fault.methods import RUN
from tests.support.certificates import channel_credentials
from tests.support.channel import open_channel
from tests.support.client import Client, make_request
from tests.support.server import Server, is_serving, run_server

UNAVAILABLE, CANCELLED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
AT_ONCE_SECONDS = 2


def healthcheck(port):
    """What `--healthcheck` exits with."""
    return run_server("--healthcheck", "--listen", f"127.0.0.1:{port}").returncode


# ---- start -------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory):
    """The sizes of GPT-2: seconds pass before it is loaded and warm."""
    sizes = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}
    return model_folders.write_zeros(tmp_path_factory.mktemp("slow") / "model", **sizes)


@pytest.fixture
def loading(slow_model, free_port):
    """A server that listens, and has still to load its model."""
    server = Server("--listen", f"127.0.0.1:{free_port}", model=slow_model).launch()
    server.port = free_port
    deadline = time.monotonic() + 60
    while not _accepts(free_port):
        assert server.process.poll() is None and time.monotonic() < deadline, server.log()
        time.sleep(0.01)
    yield server
    server.kill()


def _accepts(port):
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


def test_ready_only_when_loaded_and_warm(loading):
    """SIGTERM while loading: before it is ready it says so, and refuses calls as one that will be

    The first call after it says that it is ready is answered.
    """
    refusals = []
    with Client(loading.address) as client:
        while not is_serving(loading.address):
            assert loading.process.poll() is None, loading.log()
            refusals.append(_loading_refusal(client, loading))
        client.run(RUN)
    assert refusals[0] is not None, "it was ready as soon as it listened: nothing was tested"


def _loading_refusal(client, server):
    """A call is refused, if the server was still loading after it."""
    try:
        client.model()
    except grpc.RpcError as error:
        assert error.code() == UNAVAILABLE
        return error
    assert is_serving(server.address), "it answers before it is ready"
    return None


def test_sigterm_while_loading(loading):
    """SIGTERM while loading: there is nothing to wait for"""
    assert not is_serving(loading.address)
    assert loading.stop(seconds=AT_ONCE_SECONDS) == 0
    assert "listening on" not in loading.log()


# ---- end ---------------------------------------------------------------------


class Watch(threading.Thread):
    """Health as a balancer watches it; `seen` has each state with its time."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.channel = open_channel(server.address)
        self.call = health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest())
        self.seen = [(next(self.call).status, time.monotonic())]
        self.start()

    def run(self):
        try:
            for response in self.call:
                self.seen.append((response.status, time.monotonic()))
        except grpc.RpcError:
            self.channel.close()

    def await_not_serving(self):
        deadline = time.monotonic() + AT_ONCE_SECONDS
        while not any(status == NOT_SERVING for status, _ in self.seen):
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)


class Caller(threading.Thread):
    """Calls one after the other until one fails; `error` is that one, `answers` counts the others.

    `cut_off` tells whether it had begun to be answered.
    """

    def __init__(self, server, unary):
        super().__init__(daemon=True)
        self.client = Client(server.address)
        self.answers, self.error, self.cut_off = 0, None, False
        self.once = self._tokenize if unary else self._run
        self.start()

    def run(self):
        try:
            while True:
                self.once()
                self.answers += 1
        except grpc.RpcError as error:
            self.error = error

    def _tokenize(self):
        self.client.tokenize("word " * 20_000)

    def _run(self):
        self.cut_off = False
        for _ in self.client.events(RUN):
            self.cut_off = True
        self.cut_off = False


def test_sigterm_under_load(start_server):
    """SIGTERM with unary and stream in flight

    Each call is answered to its end or not begun; the watcher is told; the server ends in time.
    """
    server = start_server()
    watch = Watch(server)
    callers = [Caller(server, unary) for unary in (True, False) * 3]
    deadline = time.monotonic() + 30
    while min(caller.answers for caller in callers) < 3:
        assert time.monotonic() < deadline, "the callers are not answered"
        time.sleep(0.02)
    begin = time.monotonic()
    assert server.stop(seconds=20) == 0
    assert time.monotonic() - begin < 10
    for caller in callers:
        caller.join(10)
        assert caller.error is not None, "a call hangs"
        assert caller.error.code() == UNAVAILABLE and not caller.cut_off, caller.error
    watch.join(10)
    assert [status for status, _ in watch.seen] == [SERVING, NOT_SERVING]


def test_lame_duck_serves_on(start_server):
    """SIGTERM with unary and stream in flight; Watch sees NOT_SERVING first

    Balancers need time to turn away: meanwhile old and new connections are served as before.
    """
    server = start_server("--lame-duck-seconds", "3")
    watch = Watch(server)
    with Client(server.address) as client:
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        watch.await_not_serving()
        assert watch.seen[-1][1] - begin < 1
        assert not is_serving(server.address) and healthcheck(server.port) == 1
        with Client(server.address) as late:
            late.run(RUN)
        client.run(RUN)
        assert time.monotonic() - begin < 3, "too slow to tell anything"
        assert server.process.wait(20) == 0
        assert 3 <= time.monotonic() - begin < 6
        assert refused(client.model).code == UNAVAILABLE


# Computed in a moment, and too large for the buffers on its way to who does not read it.
UNREAD = {
    "prompts": [{"token_ids": {"ids": [3] * 256}}] * 2,
    "captures": [{"place": {"path": "hook_pattern"}}],
}


@pytest.mark.parametrize("request_", [heavy.endless(), UNREAD], ids=["computed", "unread"])
def test_calls_are_cut_off_when_the_grace_is_over(start_server, request_):
    """in-flight finish OK; new ones UNAVAILABLE; exit 0 within grace"""
    server = start_server("--drain-seconds", "1")
    with Client(server.address) as client:
        call = client.stub.Run(make_request(request_))
        next(call)
        begin = time.monotonic()
        assert server.stop(seconds=20) == 0
        assert 1 <= time.monotonic() - begin < 5
        assert refused(lambda: list(call)).code in (UNAVAILABLE, CANCELLED)


@pytest.mark.parametrize("flag", ["--drain-seconds", "--lame-duck-seconds"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start_server, flag, signum):
    """second SIGTERM

    Whatever it waits for.
    """
    server = start_server(flag, "60")
    watch = Watch(server)
    with Client(server.address) as client:
        call = client.stub.Run(make_request(heavy.endless()))
        next(call)
        server.process.send_signal(signum)
        watch.await_not_serving()
        assert server.process.poll() is None
        assert server.stop(signum, seconds=AT_ONCE_SECONDS) == 128 + signum
        call.cancel()


# ---- what a probe hears ------------------------------------------------------


def test_healthcheck_of_a_server_that_serves(server):
    assert healthcheck(server.port) == 0


def test_healthcheck_where_nothing_listens(free_port):
    assert healthcheck(free_port) == 1


def test_healthcheck_of_another_program():
    """Something accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        begin = time.monotonic()
        assert healthcheck(other.getsockname()[1]) == 1
        assert time.monotonic() - begin < 15


def test_healthcheck_while_loading(loading):
    """Not ready after it, so not ready before it."""
    said = healthcheck(loading.port)
    assert not is_serving(loading.address), "it loads too fast to tell anything"
    assert said == 1


def test_healthcheck_of_a_server_that_hangs(start_server):
    """A stopped process accepts connections all the same."""
    server = start_server()
    server.process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    assert healthcheck(server.port) == 1
    assert time.monotonic() - begin < 15
    server.process.send_signal(signal.SIGCONT)
    assert healthcheck(server.port) == 0


def test_healthcheck_while_draining(start_server):
    server = start_server()
    with Client(server.address) as client:
        call = client.stub.Run(make_request(heavy.endless()))
        next(call)
        watch = Watch(server)
        server.process.send_signal(signal.SIGTERM)
        watch.await_not_serving()
        assert healthcheck(server.port) == 1
        assert server.process.poll() is None
        call.cancel()
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("mutual", [False, True])
def test_healthcheck_with_tls(authority, tls_flags, mutual):
    """A probe in the server's own container has no certificate."""
    known = channel_credentials(authority, authority.sign("probe"))
    flags = [*tls_flags, "--tls-client-ca", str(authority.certificate)] if mutual else tls_flags
    with Server(*flags, "--lame-duck-seconds", "3", credentials=known) as server:
        ask = ["--healthcheck", "--listen", server.address, *flags]
        done = run_server(*ask)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        server.process.terminate()
        time.sleep(0.5)
        done = run_server(*ask)
        assert done.returncode == 1 and "NOT_SERVING" in done.stderr
        assert server.process.wait(20) == 0
    done = run_server(*ask)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
