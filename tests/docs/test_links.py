"""No link of a page in this repository leads nowhere."""

import pathlib
import re

import pytest

from tests.support import environment

# Beside the pages of the root; other folders there are no part of the repository.
_FOLDERS = ("client", "deploy", "proto", "server", "tests")
_NOT_OURS = {"node_modules", "target", "build"}
PAGES = sorted(
    [
        *environment.ROOT.glob("*.md"),
        *(
            page
            for folder in _FOLDERS
            for page in (environment.ROOT / folder).rglob("*.md")
            if not _NOT_OURS.intersection(page.relative_to(environment.ROOT).parts)
        ),
    ]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _anchors(path: pathlib.Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    headings = _HEADING.findall(text)
    words = [re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings]
    return {one.replace(" ", "-") for one in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(environment.ROOT)))
def test_links(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in _LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in _anchors(target), f"{link}: there is no such heading"
