"""No link of a page in this repository leads nowhere."""

import pathlib
import re

import pytest

from tests.lint import sources
from tests.support import environment

PAGES = [
    *sorted(environment.ROOT.glob("*.md")),
    *sorted(environment.ROOT / name for name in sources.files() if name.endswith(".md")),
]
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
