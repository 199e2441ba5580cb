"""Requests with a mistake: over the wire, the paths of their fields and the status code.

The texts of the violations are in the unit tests, tests/unit/spec and tests/unit/rpc.
"""

import pytest

from tests.fault.calls import refused
from tests.fault.refusals import limits, operands, operations, prompts, selections
from tests.fault.refusals.case import Case
from tests.support.client import Client

TABLES = (prompts, selections, operations, operands, limits)
CASES = [case for table in TABLES for case in table.cases()]
MESSAGE_MAX = 2000  # what a request says too long comes back cut


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_by_field_and_code(faulty: Client, case: Case) -> None:
    found = refused(lambda: case.call(faulty))
    assert (found.code, found.violations) == (case.code, set(case.fields)), found
    assert len(found.message) < MESSAGE_MAX and "RetryInfo" not in found.details


def test_each_case_has_its_own_name() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
