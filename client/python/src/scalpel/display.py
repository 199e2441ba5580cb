"""The parts that notebooks show of models and results: HTML without scripts or style sheets. All
text of a model or a server is escaped."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents, svg
from scalpel.events import (
    Finished,
    Prediction,
    ProbeResult,
    Report,
    SweepAxis,
    TokenLogit,
    Tokens,
)
from scalpel.tensors import Tensor
from scalpel.token_text import has_text, named

if TYPE_CHECKING:
    import numpy.typing as npt

# What more there is, to_pandas has.
_ROWS_MAX, _PICTURES_MAX, _PROMPTS_MAX, _CELLS_MAX = 30, 8, 4, 20_000
_CHANGED = "background:#ffd9b3;color:black"
_BAR = "background:#1f77b4;display:inline-block;height:0.7em;opacity:0.6"


def text(value: Any) -> str:
    """A cell: numbers short, all else escaped."""
    if isinstance(value, float):
        return svg.number(value)
    counted = isinstance(value, int) and not isinstance(value, bool)
    return html.escape(f"{value:,}" if counted else str(value))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first rows of a long one."""
    rows = list(rows)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in row) + "</tr>"
        for row in rows[:_ROWS_MAX]
    )
    more = len(rows) - _ROWS_MAX
    note = f"<div>… and {more:,} more rows</div>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def title(content: str) -> str:
    """The first line."""
    return f"<b>{text(content)}</b>"


def folded(summary: str, content: str) -> str:
    """What opens when its summary is pressed."""
    return f"<details><summary>{summary}</summary>{content}</details>"


def stats_html(stats: Sequence[ProbeResult]) -> str:
    """Lines over layers, and the numbers."""
    rows = []
    for result in stats:
        layer = "" if result.layer is None else result.layer
        where = [text(result.probe), text(layer), text(result.prompt), text(result.clean)]
        for statistic, values in result.statistics.items():
            shown = svg.number(float(values)) if values.ndim == 0 else f"array {values.shape}"
            rows.append([*where, text(statistic), text(shown)])
    header = ("probe", "layer", "prompt", "clean", "statistic", "value")
    return pictures(stats) + table(header, rows)


def prompts(several: Sequence[Tokens]) -> str:
    """Each prompt, token by token; the first few."""
    shown = []
    for i, prompt in enumerate(several[:_PROMPTS_MAX]):
        words = prompt.tokens or tuple(map(named, prompt.ids))
        cells = "<span style='opacity:0.4'>|</span>".join(html.escape(word) for word in words)
        shown.append(f"<div>{i}&ensp;<code>{cells}</code></div>")
    if len(several) > _PROMPTS_MAX:
        shown.append(f"<div>… {len(several)} prompts</div>")
    return "".join(shown)


def first_prompts(several: Sequence[Tokens]) -> range:
    """Those of which more is shown."""
    return range(min(len(several), _PROMPTS_MAX))


def predictions(several: Sequence[Prediction], prompt: int) -> str:
    """Of one prompt, at the last position that came: clean and edited beside each other."""
    places = contents.beside_each_other(one for one in several if one.prompt == prompt)
    if not places:
        return ""
    last = max(position for _, position in places)
    columns = {contents.run_name(one.clean): one.tokens for one in places[prompt, last]}
    rows = [
        [_token(tokens[rank]) for tokens in columns.values()]
        for rank in range(len(next(iter(columns.values()))))
    ]
    names = [f"{name}, prompt {prompt}, position {last}" for name in columns]
    return table(names, rows)


def _token(token: TokenLogit) -> str:
    shown = repr(token.token) if has_text(token.token, token.token_id) else token.shown
    if not math.isfinite(token.prob):
        return f"<code>{text(shown)}</code> nan"
    bar = f"<span style='{_BAR};width:{100 * token.prob:.0f}px'></span>"
    return f"<code>{text(shown)}</code> {100 * token.prob:.1f}% {bar}"


def pictures(stats: Sequence[ProbeResult]) -> str:
    """A line over layers for each statistic that is one number; the first few."""
    by_name: dict[tuple[str, int, str], dict[str, list[ProbeResult]]] = {}
    for result in stats:
        for statistic, values in result.statistics.items():
            if values.ndim == 0 and result.layer is not None:
                lines = by_name.setdefault((result.probe, result.prompt, statistic), {})
                lines.setdefault(contents.run_name(result.clean), []).append(result)
    parts = []
    for (probe, prompt, statistic), lines in list(by_name.items())[:_PICTURES_MAX]:
        layers = [f"layer {one.layer}" for one in next(iter(lines.values()))]
        if len(layers) > 1:
            series = {
                name: np.array([float(one.statistics[statistic]) for one in results])
                for name, results in sorted(lines.items(), reverse=True)
            }
            title = f"{statistic} of {probe}, prompt {prompt}: {', '.join(series)}"
            parts.append(svg.lines(series, layers, title))
    return f"<div>{''.join(parts)}</div>" if parts else ""


@dataclasses.dataclass(frozen=True)
class GeneratedRow:
    """A stream of a generation."""

    name: str
    """Which."""
    run: str
    """`steered`, `unsteered`, or empty where there are no twins."""
    tokens: Sequence[str]
    """The new tokens."""
    changed: Sequence[bool]
    """Which of them differ from the twin's; empty: none is marked."""
    end: str
    """Why it ended."""


def generated(rows: Sequence[GeneratedRow]) -> str:
    """Streams of one prompt, token by token, with a mark on those that differ from the twin's."""
    cells = []
    for row in rows:
        marks = row.changed or [False] * len(row.tokens)
        words = [_word(*pair) for pair in zip(row.tokens, marks, strict=True)]
        cells.append(
            [text(row.name), text(row.run), f"<code>{''.join(words)}</code>", text(row.end)]
        )
    marked = ", what differs marked" if any(any(row.changed) for row in rows) else ""
    return table(("stream", "", f"text{marked}", "ended by"), cells)


def _word(token: str, changed: bool) -> str:
    shown = html.escape(token).replace("\n", "\\n")
    return f"<span style='{_CHANGED}'>{shown}</span>" if changed else shown


def reports(several: Sequence[Report]) -> str:
    """What the interventions did."""
    if not several:
        return ""
    rows = [[*map(text, contents.report_row(one))] for one in several]
    return table((*contents.REPORT_HEADER[:-1], "max |change|"), rows)


def tensors(several: Sequence[Tensor]) -> str:
    """A line for each."""
    if not several:
        return ""
    rows = [[text(repr(tensor)), text(tensor.nbytes)] for tensor in several]
    return folded(f"{len(several)} tensors", table(("tensor", "bytes"), rows))


def metric(
    name: str,
    prompt: int,
    array: npt.NDArray[np.float64],
    axes: Sequence[SweepAxis],
    clean: float | None,
    furthest: Sequence[tuple[dict[str, Any], float]],
) -> str:
    """A metric of a sweep in one prompt, as a line or a heat map; over more than two axes, the
    places furthest from 0. `clean`: the clean run's value, where it is one number."""
    note = "" if clean is None else f", clean {svg.number(clean)}"
    head = f"<div><b>{text(name)}</b>, prompt {prompt}{note}</div>"
    shape = tuple(len(axis.labels) for axis in axes)
    if array.shape != shape or array.size > _CELLS_MAX:
        return head + f"<div>array {array.shape}</div>"
    if len(axes) == 1:
        return head + svg.lines({name: array}, axes[0].labels, axes[0].name)
    if len(axes) == 2:
        names = (axes[0].name, axes[1].name)
        centre = 0.0 if clean is None or not math.isfinite(clean) else clean
        return head + svg.heat_map(array, axes[0].labels, axes[1].labels, names, centre)
    rows = [[text(place), svg.number(value)] for place, value in furthest]
    return head + table(("furthest from 0", "value"), rows)


def finished(end: Finished, not_finite: str) -> str:
    """Times; and where values are infinite or NaN, in words."""
    queue, compute = end.queue_seconds * 1000, end.compute_seconds * 1000
    # Where the numbers above stop to mean anything.
    note = f"<div><b>not finite</b>: {text(not_finite)}</div>" if not_finite else ""
    return (
        f"{note}<div style='opacity:0.6'>queue {queue:.1f} ms, compute {compute:.1f} ms, "
        f"{end.tokens_computed:,} tokens computed</div>"
    )
