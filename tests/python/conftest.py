"""Fixtures of the Python client's tests."""

import pytest

import scalpel
from scalpel import lens
from tests.python.fake_server import FakeServer
from tests.support.certificates import Authority
from tests.support.server import Server


@pytest.fixture(scope="session")
def model(server):
    """The client under test, connected to `server`."""
    with scalpel.connect(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def hooked(server):
    """The same under TransformerLens' names, with numpy arrays."""
    with lens.connect(server.address, arrays="numpy") as connected:
        yield connected


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs the certificates of servers and clients."""
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture
def fake(server):
    """A server that fails when told to, before the shared one."""
    with FakeServer(server.address) as running:
        yield running


@pytest.fixture
def hasty(fake):
    """Connected to `fake`, without patience."""
    retry = scalpel.Retry(attempts=3, first_pause=0.01)
    with scalpel.connect(fake.address, retry=retry, timeout=20) as connected:
        yield connected


@pytest.fixture(scope="module")
def servers(server, model_dir):
    """The shared server, and another."""
    with Server("--threads", "1", model=model_dir) as other:
        yield [server, other]
