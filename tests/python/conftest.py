"""Fixtures of the Python client's tests."""

import pytest

import scalpel
from tests.support.certificates import Authority


@pytest.fixture(scope="session")
def model(server):
    """The client under test, connected to `server`."""
    with scalpel.connect(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs the certificates of servers and clients."""
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")
