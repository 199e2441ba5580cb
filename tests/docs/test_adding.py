"""The files that server/adding.md tells a newcomer to touch are there."""

import pathlib
import re

from tests.support import environment

PAGE = environment.ROOT / "server" / "adding.md"


def _named() -> list[tuple[str, str]]:
    """Each file of a cell by its name there, with the folder of the one before it: a cell may name
    `tests/oracle/edits.py`, and then `random_specs.py` alone."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        for cell in line.split("|"):
            folder = ""
            for name in re.findall(r"`([\w/.-]+\.(?:proto|cc|h|py|md))`", cell):
                if "/" in name:
                    folder = str(pathlib.PurePosixPath(name).parent)
                if folder:
                    found.append((folder, name))
    return found


def test_every_file_is_there():
    named = _named()
    assert len(named) > 40, "the page names files"
    missing = [
        name
        for folder, name in named
        if not (environment.ROOT / folder / pathlib.PurePosixPath(name).name).exists()
        and not (environment.ROOT / "server" / name).exists()
        and not list((environment.ROOT / "client" / "docs" / "reference").glob(name))
    ]
    assert not missing
