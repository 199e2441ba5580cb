"""What notebooks show of models and results: HTML without scripts or style sheets. All text of a
model or a server is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import svg
from scalpel.events import Finished, ProbeResult, TokenLogit, Tokens
from scalpel.token_text import has_text, named

if TYPE_CHECKING:
    from scalpel.info import ModelInfo
    from scalpel.run_result import RunResult
    from scalpel.stats import Stats
    from scalpel.sweep_result import SweepResult

# What more there is, to_pandas has.
_ROWS_MAX, _PICTURES_MAX, _PROMPTS_MAX, _CELLS_MAX = 30, 8, 4, 20_000
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


def model_html(info: ModelInfo) -> str:
    """The model and its sites."""
    rows = [
        [
            f"<code>{text(site.name)}</code>",
            text(", ".join(site.axes)),
            text(site.unit_size),
            "each" if site.per_layer else "",
            "edit, observe" if site.editable else "observe",
            text(", ".join(site.aliases)),
        ]
        for site in info.sites.values()
    ]
    names = ("site", "axes", "units", "layer", "", "also called")
    summary = f"<summary>{len(rows)} sites</summary>"
    return f"<b>{text(repr(info))}</b><details>{summary}{table(names, rows)}</details>"


def run_html(run: RunResult) -> str:
    """Prompts, predictions, statistics by layer, interventions, tensors."""
    parts = [f"<b>run {text(run.request_id)}</b>", _prompts(run.prompts)]
    parts += [_predictions(run, prompt) for prompt in range(min(len(run.prompts), _PROMPTS_MAX))]
    parts.append(_pictures(run.stats))
    if run.reports:
        rows = [
            [text(r.name), text(r.sites_touched), text(r.elements_selected),
             text(r.elements_changed), text(float(r.max_abs_change))]
            for r in run.reports
        ]  # fmt: skip
        names = ("intervention", "places", "elements", "changed", "max |change|")
        parts.append(table(names, rows))
    tensors = [*run.tensors, *(t for block in run.block_outputs for t in block.tensors)]
    if tensors:
        rows = [[text(repr(tensor)), text(tensor.nbytes)] for tensor in tensors]
        summary = f"<summary>{len(tensors)} tensors</summary>"
        parts.append(f"<details>{summary}{table(('tensor', 'bytes'), rows)}</details>")
    parts.append(_finished(run.finished, str(run.first_non_finite or "")))
    return "".join(parts)


def sweep_html(sweep: SweepResult) -> str:
    """Each metric as a heat map or a line."""
    parts = [f"<b>{text(repr(sweep))}</b>", _prompts(sweep.prompts)]
    for name in sweep.metrics:
        for prompt in range(min(len(sweep.prompts), _PROMPTS_MAX)):
            parts.append(_metric(sweep, name, prompt))
    if sweep.finished is not None:
        parts.append(_finished(sweep.finished, sweep.non_finite_text()))
    return "".join(parts)


def stats_html(stats: Stats) -> str:
    """Lines over layers, and the numbers."""
    rows = []
    for result in stats:
        layer = "" if result.layer is None else result.layer
        where = [text(result.probe), text(layer), text(result.prompt), text(result.clean)]
        for statistic, values in result.statistics.items():
            shown = svg.number(float(values)) if values.ndim == 0 else f"array {values.shape}"
            rows.append([*where, text(statistic), text(shown)])
    header = ("probe", "layer", "prompt", "clean", "statistic", "value")
    return _pictures(stats) + table(header, rows)


def _prompts(prompts: Sequence[Tokens]) -> str:
    shown = []
    for i, prompt in enumerate(prompts[:_PROMPTS_MAX]):
        words = prompt.tokens or tuple(map(named, prompt.ids))
        cells = "<span style='opacity:0.4'>|</span>".join(html.escape(word) for word in words)
        shown.append(f"<div>{i}&ensp;<code>{cells}</code></div>")
    if len(prompts) > _PROMPTS_MAX:
        shown.append(f"<div>… {len(prompts)} prompts</div>")
    return "".join(shown)


def _predictions(run: RunResult, prompt: int) -> str:
    """Clean and edited beside each other, at the last position that came."""
    found = [one for one in run.predictions if one.prompt == prompt]
    if not found:
        return ""
    last = max(one.position for one in found)
    found = sorted((one for one in found if one.position == last), key=lambda one: not one.clean)
    columns = {"clean" if one.clean else "edited": one.tokens for one in found}
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


def _pictures(stats: Stats) -> str:
    """A line over layers for each statistic that is one number; the first few."""
    by_name: dict[tuple[str, int, str], dict[str, list[ProbeResult]]] = {}
    for result in stats:
        for statistic, values in result.statistics.items():
            if values.ndim == 0 and result.layer is not None:
                lines = by_name.setdefault((result.probe, result.prompt, statistic), {})
                lines.setdefault("clean" if result.clean else "edited", []).append(result)
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


def _metric(sweep: SweepResult, name: str, prompt: int) -> str:
    try:
        array = sweep.array(name, prompt=prompt)
    except LookupError:  # top_k has no numbers.
        return ""
    try:
        clean = sweep.clean(name, prompt=prompt)
    except LookupError:  # It compares with the clean run.
        clean = None
    has_clean = isinstance(clean, float)
    note = f", clean {svg.number(clean)}" if has_clean else ""
    title = f"<div><b>{text(name)}</b>, prompt {prompt}{note}</div>"
    axes = sweep.axes
    if array.shape != sweep.shape or array.size > _CELLS_MAX:
        return title + f"<div>array {array.shape}</div>"
    if len(axes) == 1:
        return title + svg.lines({name: array}, axes[0].labels, axes[0].name)
    if len(axes) == 2:
        names = (axes[0].name, axes[1].name)
        centre = clean if has_clean and math.isfinite(clean) else 0.0
        return title + svg.heat_map(array, axes[0].labels, axes[1].labels, names, centre)
    rows = [
        [text(place), svg.number(value)] for place, value in sweep.extremes(name, prompt=prompt)
    ]
    return title + table(("furthest from 0", "value"), rows)


def _finished(finished: Finished, not_finite: str) -> str:
    queue, compute = finished.queue_seconds * 1000, finished.compute_seconds * 1000
    # Where the numbers above stop to mean anything.
    note = f"<div><b>not finite</b>: {text(not_finite)}</div>" if not_finite else ""
    return (
        f"{note}<div style='opacity:0.6'>queue {queue:.1f} ms, compute {compute:.1f} ms, "
        f"{finished.tokens_computed:,} tokens computed</div>"
    )
