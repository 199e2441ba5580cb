"""Every program prints what the tests' own client makes of the same requests."""

import re
import time

import pytest

from tests.languages import reference


@pytest.fixture(scope="module")
def expected(server):
    return reference.program_lines(server.address)


def test_every_program_prints_the_same(program, server, expected):
    before = len(run_codes(server))
    done = program.run(server.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
    codes = finished_codes(server, before, 4)
    assert codes[:2] == ["OK", "INVALID_ARGUMENT"]
    # A client may cancel at its deadline before the server looks at its own clock.
    assert codes[2] in ("DEADLINE_EXCEEDED", "CANCELLED") and codes[3] == "CANCELLED"


def test_a_tensor_takes_several_chunks(expected):
    chunks = [int(line.split(" chunks ")[1].split()[0]) for line in expected if "chunks" in line]
    assert len(chunks) == 2 and min(chunks) > 2


def test_a_program_without_a_server_fails(program):
    done = program.run("127.0.0.1:1")
    assert done.returncode == 1 and not done.stdout and done.stderr


def run_codes(server) -> list[str]:
    """Status codes of the Run calls that the server's log says are over."""
    return re.findall(r" method=Run .* code=(\w+) ", server.log())


def finished_codes(server, before: int, count: int, seconds_max: float = 10) -> list[str]:
    """The codes of the next `count` calls, which a program may not have waited for."""
    deadline = time.monotonic() + seconds_max
    while len(codes := run_codes(server)[before:]) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(codes) == count, codes
    return codes
