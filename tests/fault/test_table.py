"""The table of README.md: each row has tests, and each test is there."""

import pathlib
import re

import pytest

from tests.support import environment

FOLDER = pathlib.Path(__file__).parent
ROWS = re.findall(
    r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
)
NAMES = sorted({name for _, _, tests, _ in ROWS for name in re.findall(r"`(\S+::\S+)`", tests)})


def test_the_rows_are_counted_and_each_names_a_test() -> None:
    numbers = [int(number) for number, *_ in ROWS]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, max(numbers) + 1))
    assert max(numbers) >= 40
    for number, _, tests, _ in ROWS:
        assert re.fullmatch(r"(`\S+::\S+`(, )?)+", tests), f"row {number}: {tests}"


@pytest.mark.parametrize("name", NAMES)
def test_a_named_test_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    path = environment.ROOT / "tests" / file if file.startswith("unit/") else FOLDER / file
    suite, _, case = test.rpartition(".")
    in_cpp, in_python = rf"^TEST(_F|_P)?\({suite}, {case}\) {{", rf"^def {test}\("
    found = in_cpp if path.suffix == ".cc" else in_python
    assert re.search(found, path.read_text(), re.MULTILINE), f"{name} is not there"


def test_each_file_of_refusals_is_in_the_table() -> None:
    """Its cases are tests of test_refusals.py."""
    tables = {path.name for path in (FOLDER / "refusals").glob("*.py")} - {"case.py"}
    assert tables <= {name.partition("::")[0].removeprefix("refusals/") for name in NAMES}
