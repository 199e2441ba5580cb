"""The parts of a page. Functions escape what they are given, and return HTML; only what is already
`Html` passes as it is."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel.report.figures import Figure
from scalpel.token_text import has_text, named

if TYPE_CHECKING:
    from scalpel.events import TokenLogit


class Html(str):
    """Text that is HTML already."""


Cell = str | int | float | None | Html
# Rows of a table; what is beyond is said, and lies in the answer itself.
ROWS_MAX = 2000


def text(value: Any) -> Html:
    """Escaped; numbers as people read them."""
    if isinstance(value, Html):
        return value
    if isinstance(value, (float, np.floating)):
        return Html(number(float(value)))
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return Html(f"{value:,}")
    return Html(html.escape("" if value is None else str(value)))


def number(value: float) -> str:
    """Four digits, with a true minus."""
    if math.isnan(value):
        return "NaN"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """`61.2%`, or `NaN`."""
    return f"{100 * share:.1f}%" if math.isfinite(share) else number(share)


def element(tag: str, content: Any, **attributes: Any) -> Html:
    """An element; `class_` is the attribute class, and an attribute that is None is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{text(content)}</{tag}>")


def join(parts: Iterable[Any]) -> Html:
    """One after the other."""
    return Html("".join(text(part) for part in parts))


def paragraph(*sentences: str) -> Html:
    """Sentences, with a space between."""
    return element("p", Html(" ".join(text(sentence) for sentence in sentences)))


def section(title: str, *parts: Html) -> Html:
    """A part of the page with a heading, which the page's contents lead to."""
    return element("section", join([element("h2", title), *parts]), id=anchor(title))


def anchor(title: str) -> str:
    """The fragment of a section's address."""
    words = "".join(c if c.isalnum() else " " for c in title.lower()).split()
    return "-".join(words)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Html:
    """Scrolls by itself where it is larger than the page. Numbers stand right; a column `prompt`
    is left out where there is one."""
    rows = list(rows)
    shown = [i for i, name in enumerate(header) if name != "prompt" or _varies(rows, i)]
    kinds = {i: _kind(row[i] for row in rows) for i in shown}
    names = (element("th", header[i], scope="col", class_=kinds[i]) for i in shown)
    head = element("tr", join(names))
    body = join(
        element("tr", join(element("td", row[i], class_=kinds[i]) for i in shown))
        for row in rows[:ROWS_MAX]
    )
    inner = join([element("thead", head), element("tbody", body)])
    parts = [element("div", element("table", inner), class_="scroll", tabindex="0")]
    if len(rows) > ROWS_MAX:
        more = f"{len(rows) - ROWS_MAX:,} more rows are left out."
        parts.append(element("p", more, class_="note"))
    return join(parts)


def _varies(rows: Sequence[Sequence[Cell]], column: int) -> bool:
    return len({row[column] for row in rows}) > 1


def _kind(cells: Iterable[Cell]) -> str | None:
    """The class of a column."""
    numbers = all(cell is None or isinstance(cell, (int, float, np.number)) for cell in cells)
    return "number" if numbers else None


def figure(content: Figure) -> Html:
    """An interactive figure; the page's script draws it."""
    caption = [element("strong", content.title)]
    if content.note:
        caption.append(element("span", content.note))
    # In a script element only "<" can end it, or begin a comment.
    data = Html(content.to_json().replace("<", "\\u003c"))
    parts = [
        element("figcaption", join(caption)),
        element("div", "", class_="controls"),
        element("div", "", class_="drawing"),
        element("script", data, type="application/json"),
    ]
    return element("figure", join(parts), class_="plot")


def details(summary: str, content: Html, *, is_open: bool = False) -> Html:
    """A part that opens and closes."""
    inner = join([element("summary", summary), content])
    return element("details", inner, open="" if is_open else None)


def code(content: str) -> Html:
    """Lines as they are, in a box that scrolls."""
    return element("pre", element("code", content), class_="scroll", tabindex="0")


def token(content: str, token_id: int) -> Html:
    """A token, with its spaces visible; or by its id, where it has no text."""
    if not has_text(content, token_id):
        return text(named(token_id))
    shown = content.replace("\n", "↵").replace(" ", "\N{OPEN BOX}")
    return element("code", shown, class_="token")


def prediction(tokens: Sequence[TokenLogit]) -> Html:
    """Tokens with their probability as a bar."""
    rows = []
    for one in tokens:
        share = percent(one.prob)
        width = max(0.5, 100 * one.prob) if math.isfinite(one.prob) else 0.0
        bar = element("span", "", class_="bar", style=f"width:{width:.1f}%")
        name = token(one.token, one.token_id)
        cells = [element("td", name), element("td", share, class_="number")]
        rows.append(element("tr", join([*cells, element("td", bar, class_="bars")])))
    return element("table", element("tbody", join(rows)), class_="prediction")


def columns(parts: Sequence[tuple[str, Html]]) -> Html:
    """Beside each other where there is room, each with its heading."""
    cells = [element("div", join([element("h4", name), part])) for name, part in parts]
    return element("div", join(cells), class_="columns")


def facts(pairs: Sequence[tuple[str, Any]]) -> Html:
    """Names and values."""
    rows = (element("div", join([element("dt", k), element("dd", v)])) for k, v in pairs)
    return element("dl", join(rows), class_="facts")


def tokens(words: Sequence[str], ids: Sequence[int]) -> Html:
    """A prompt, token by token; by ids where the model has no tokenizer."""
    names = map(token, words or [""] * len(ids), ids)
    numbered = (element("span", join([name, element("sub", i)])) for i, name in enumerate(names))
    return element("p", join(numbered), class_="tokens")


def pretty_json(content: str) -> str:
    """JSON with short lists on one line."""
    return _pretty(json.loads(content), "")


def _pretty(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 88 or not isinstance(value, (dict, list)) or not value:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        inner = [f"{json.dumps(k)}: {_pretty(v, deeper)}" for k, v in value.items()]
        begin, end = "{", "}"
    else:
        inner = [_pretty(one, deeper) for one in value]
        begin, end = "[", "]"
    lines = f",\n{deeper}".join(inner)
    return f"{begin}\n{deeper}{lines}\n{indent}{end}"
