"""The programs as fixtures, built when the first test of each needs it."""

import pytest

from tests.languages import programs

PROGRAMS = programs.all_programs()
CHECKERS = [program for program in PROGRAMS if program.checks_vectors]


def name_of(program: programs.Program) -> str:
    return program.name


@pytest.fixture(scope="session", params=PROGRAMS, ids=name_of)
def program(request) -> programs.Program:
    request.param.build()
    return request.param


@pytest.fixture(scope="session", params=CHECKERS, ids=name_of)
def checker(request) -> programs.Program:
    """A program that reads vectors; grpcurl does not."""
    request.param.build()
    return request.param
