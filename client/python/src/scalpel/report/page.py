"""A page that stands alone: style, scripts, libraries and data are inside it, and its content
security policy lets it load nothing and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
import string
from collections.abc import Sequence

from scalpel.report.parts import Html, element, join, text

# In the order in which they run; each library after the licence that its copies must carry.
_LIBRARIES = (("LICENSE-d3.txt", "d3.min.js"), ("LICENSE-plot.txt", "plot.umd.min.js"))
_HEADING = re.compile(r'<section id="([^"]*)"><h2>(.*?)</h2>')


def page(title: str, lead: Html, sections: Sequence[Html]) -> str:
    """A whole page: a heading, what it is about, and its sections with a list of them."""
    links = [
        element("a", Html(match[2]), href=f"#{match[1]}")
        for match in map(_HEADING.match, sections)
        if match is not None
    ]
    scripts = [_library(*names) for names in _LIBRARIES] + [_read("assets", "page.js")]
    policy = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    template = string.Template(_read("assets", "page.html"))
    return template.substitute(
        title=text(title),
        policy=policy,
        style=_read("assets", "page.css"),
        contents=element("nav", join(links), aria_label="contents"),
        lead=lead,
        sections=join(sections),
        scripts=join(Html(f"<script>{script}</script>") for script in scripts),
    )


def _library(licence: str, script: str) -> str:
    return f"/*\n{_read('vendor', licence)}*/\n{_read('vendor', script)}"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _read(folder: str, name: str) -> str:
    return importlib.resources.files("scalpel.report").joinpath(folder, name).read_text("utf-8")
