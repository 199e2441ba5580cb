"""Every page of the documentation: what it says runs, and prints what it shows."""

import pytest

from tests.docs.pages import Page
from tests.support import environment

_CLIENT = environment.ROOT / "client"
# Generated from files that have tests of their own, in part with other environments.
_ELSEWHERE = {"reference", "generator", "migration"}
PAGES = [
    _CLIENT / "README.md",
    *(
        path
        for path in sorted((_CLIENT / "docs").rglob("*.md"))
        if path.stem not in _ELSEWHERE and path.parent.name not in _ELSEWHERE
    ),
]


def _has_blocks(path) -> bool:
    """An index has none."""
    return path.name != "README.md" or path.parent == _CLIENT


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(_CLIENT)))
def test_page(path, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    page = Page(path, server.port, tmp_path)
    page.run()
    assert (page.blocks > 0) == _has_blocks(path)


def test_readme_of_the_repository(server, tmp_path):
    """Its Python. What it shows of the command line has the ids and times of one day in it."""
    page = Page(environment.ROOT / "README.md", server.port, tmp_path, commands=False)
    page.run()
    assert page.blocks == 1
