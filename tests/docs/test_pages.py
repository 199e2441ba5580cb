"""Every page of the documentation: what it says runs, and prints what it shows."""

import pytest

from tests.docs.pages import Page
from tests.support import environment

_CLIENT = environment.ROOT / "client"
PAGES = [
    _CLIENT / "README.md",
    *sorted((_CLIENT / "docs").glob("*.md")),
    *sorted((_CLIENT / "docs" / "how-to").glob("*.md")),
    *sorted((_CLIENT / "docs" / "concepts").glob("*.md")),
]
# What runs in its own environment (test_migration.py).
PAGES.remove(_CLIENT / "docs" / "migration.md")
# Pages that only link to others.
WITHOUT_BLOCKS = {_CLIENT / "docs" / "README.md"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(_CLIENT)))
def test_page(path, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    page = Page(path, server.port, tmp_path)
    page.run()
    assert (page.blocks == 0) == (path in WITHOUT_BLOCKS)


def test_readme_of_the_repository(server, tmp_path):
    """Its Python. What it shows of the command line has the ids and times of one day in it."""
    page = Page(environment.ROOT / "README.md", server.port, tmp_path, commands=False)
    page.run()
    assert page.blocks == 1
