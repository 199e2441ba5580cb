"""Fixtures that all tests share."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pytest

from tests.support import environment

environment.import_stubs()

from tests.support.client import Client  # noqa: E402
from tests.support.server import Server  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "live: compares with HuggingFace transformers (needs torch and transformers)"
    )


@pytest.fixture(scope="session")
def model_dir() -> pathlib.Path:
    """The folder of the model that ships with the repository."""
    return environment.model_dir()


@pytest.fixture(scope="session")
def server(model_dir):
    """A server of the bundled model, shared by all tests that leave it as they found it."""
    with Server(model=model_dir) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    """A client of `server`."""
    with Client(server.address) as connected:
        yield connected


@pytest.fixture
def start_server():
    """Starts servers of the test's own: `start_server("--max-queue", "1", model=folder)`. Ended, by
    force, with the test."""
    started = []

    def start(*flags, **options) -> Server:
        started.append(Server(*flags, **options))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()
