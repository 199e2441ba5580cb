"""The quick run, made once; and its peers, printed at the end of the session."""

import pytest

_said: list[str] = []


@pytest.fixture(scope="session")
def quick_run() -> dict:
    from tests.bench import suite

    run = suite.quick(None, None)
    _said.append(f"{len(run['rows'])} cases, answered by {', '.join(run['peers'])}")
    _said.append(f"not installed here: {', '.join(run['missing']) or 'none'}")
    return run


def pytest_terminal_summary(terminalreporter):
    if _said:
        terminalreporter.section("benchmark, agreement only")
        for line in _said:
            terminalreporter.write_line(line)
