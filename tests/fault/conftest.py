"""Every fault of the shared server is followed by the check that it is alive."""

import pytest

from tests.fault.alive import Alive


@pytest.fixture(scope="session")
def healthy(server, client):
    """The shared server's state before any fault."""
    return Alive(server, client)


@pytest.fixture
def faulty(healthy):
    """A client of the shared server, for one fault; the server must be alive afterwards."""
    yield healthy.client
    healthy.check()
