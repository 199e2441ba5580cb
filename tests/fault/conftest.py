"""Every fault of the shared server is followed by the check that it is alive."""

import socket
import subprocess
import sys

import pytest

from tests.fault.alive import Alive
from tests.support import environment
from tests.support.certificates import Authority
from tests.support.tokens import TokenFile


@pytest.fixture(scope="session")
def healthy(server, client):
    """The shared server's state before any fault."""
    return Alive(server, client)


@pytest.fixture
def faulty(healthy):
    """A client of the shared server, for one fault; the server must be alive afterwards."""
    yield healthy.client
    healthy.check()


@pytest.fixture
def free_port():
    """A port on 127.0.0.1 where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> TokenFile:
    """A token file of the module's own, for its tests to change."""
    return TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs the certificates of servers and of clients."""
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="session")
def tls_flags(authority):
    """Flags for a server to speak TLS on loopback."""
    pair = authority.sign("server")
    return ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]


@pytest.fixture(scope="session", autouse=True)
def cable(request):
    """The program of test_pulled_cable.py, if that is to run. It begins with the session, since it
    waits for half a minute, and takes with it what it has started."""
    if not any("test_pulled_cable.py" in item.nodeid for item in request.session.items):
        yield None
        return
    alone = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    program = [*alone, sys.executable, "-m", "tests.fault.pulled_cable"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=environment.ROOT
    ) as process:
        yield process
        process.kill()
