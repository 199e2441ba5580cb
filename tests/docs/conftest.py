"""A server for the pages, and the largest differences between libraries, printed at the end."""

import pytest

from tests.support.server import Server

_differences: dict[str, tuple[float, float]] = {}


@pytest.fixture(scope="session")
def server(model_dir):
    with Server(model=model_dir) as running:
        yield running


@pytest.fixture(scope="session")
def record_difference():
    """`record_difference(task, difference, largest)`: keeps the largest of each task."""

    def record(task: str, difference: float, largest: float) -> None:
        known, _ = _differences.get(task, (0.0, largest))
        _differences[task] = max(known, difference), largest

    return record


def pytest_terminal_summary(terminalreporter):
    if _differences:
        terminalreporter.section("migration, largest difference between libraries")
        for task, (difference, largest) in _differences.items():
            line = f"{task:18} {difference:.1e}  of values up to {largest:.4g}"
            terminalreporter.write_line(line)
