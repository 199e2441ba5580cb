"""Fixtures of the Python client's tests."""

import pytest

import scalpel


@pytest.fixture(scope="session")
def model(server):
    """The client under test, connected to `server`."""
    with scalpel.connect(server.address) as connected:
        yield connected
