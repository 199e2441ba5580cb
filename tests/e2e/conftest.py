"""The server whose operators are looked over the shoulder."""

from collections.abc import Iterator

import pytest

from tests.e2e.insight import METRICS
from tests.support.server import Server


@pytest.fixture(scope="session")
def watched(model_dir) -> Iterator[Server]:
    """A server whose metrics are read, and whose log is JSON."""
    with Server(*METRICS, "--log-format", "json", model=model_dir) as running:
        yield running
