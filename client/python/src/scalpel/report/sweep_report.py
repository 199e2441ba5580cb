"""The report of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents, labels
from scalpel.events import SweepAxis
from scalpel.report import common, cube, parts, words
from scalpel.report.figures import VALUES_MAX, Dimension, Figure
from scalpel.report.page import page
from scalpel.report.parts import Html

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.info import ModelInfo
    from scalpel.sweep_result import SweepResult

# Variants that are named; of so few, all are.
_EXTREMES = 10


def sweep_report(sweep: SweepResult, info: ModelInfo, title: str) -> str:
    """A page about a sweep."""
    sections = [
        common.prompts("Prompts" if len(sweep.prompts) > 1 else "Prompt", sweep.prompts),
        common.prompts("Sources", sweep.sources) if sweep.sources else Html(),
        variants(sweep),
        *(metric(sweep, name) for name in sweep.metrics),
        statistics(sweep),
        reports(sweep),
        common.request(sweep.request),
    ]
    not_finite = sweep.non_finite_text()
    lead = common.lead(info, sweep.digest, sweep.cost, sweep.finished, not_finite)
    return page(title, lead, [section for section in sections if section])


def variants(sweep: SweepResult) -> Html:
    """What each variant does, and along which axes they differ."""
    shape = " × ".join(f"{len(axis.labels)} {axis.name}s" for axis in sweep.axes)
    said = f"{math.prod(sweep.shape):,} variants: {shape}."
    if sweep.request.WhichOneof("sweep") == "grid":
        table = common.interventions(sweep.request.grid.interventions, varied=True)
        return parts.section("Variants", parts.paragraph(said), table)
    rows = [
        [name, words.place(one.place), words.operation(one)]
        for name, variant in zip(sweep.axes[0].labels, sweep.request.variants.variants, strict=True)
        for one in variant.interventions
    ]
    table = parts.table(("variant", "where", "what"), rows)
    return parts.section("Variants", parts.paragraph(said), table)


def dimension(axis: SweepAxis) -> Dimension:
    """An axis of the sweep; one of numbers stands on their scale."""
    return Dimension(axis.name, axis.labels)


def metric(sweep: SweepResult, name: str) -> Html:
    """A figure, what is furthest from clean, and all numbers."""
    if labels.metric_kind(sweep, name) == "top_k":
        return _top(sweep, name)
    figures = [parts.figure(one) for one in _figures(sweep, name)]
    heading = labels.metric_title(sweep, name)
    return parts.section(heading, *figures, _extremes(sweep, name), _all_numbers(sweep, name))


def _figures(sweep: SweepResult, name: str) -> list[Figure]:
    """One for all prompts; positions name the tokens of the only prompt."""
    prompts = range(len(sweep.prompts))
    array = np.stack([sweep.array(name, prompt=prompt) for prompt in prompts])
    if array.size > VALUES_MAX:
        return []
    baselines = [labels.unchanged(sweep, name, prompt) for prompt in prompts]
    centres = [math.nan if one is None else one for one in baselines]
    choices = [Dimension("prompt", list(map(str, prompts)))]
    label = labels.metric_label(sweep, name)
    if array.ndim > 1 + len(sweep.shape):
        return [_token_lines(sweep, name, array, choices)]
    if len(sweep.axes) == 1:
        return [_lines(sweep, label, array, centres, choices)]
    *others, rows, columns = map(dimension, sweep.axes)
    times = math.prod(len(other.labels) for other in others)
    one_sided = labels.metric_kind(sweep, name) in labels.ONE_SIDED
    figure = Figure(
        kind="map",
        title=labels.metric_title(sweep, name),
        values=array,
        rows=rows,
        columns=columns,
        choices=[*choices, *others],
        labels=[label],
        centres=[math.nan] if one_sided else [c for c in centres for _ in range(times)],
        note="" if one_sided else "The middle of the colours is where nothing changes.",
    )
    return [figure]


def _lines(
    sweep: SweepResult,
    label: str,
    array: npt.NDArray[Any],
    centres: Sequence[float],
    choices: Sequence[Dimension],
) -> Figure:
    columns, scale = _scaled(sweep.axes[0], sweep)
    return Figure(
        kind="lines",
        title=f"{label} by {columns.name}",
        values=array[:, None, :],
        rows=Dimension("run", ["edited"]),
        columns=columns,
        choices=choices,
        labels=[label],
        centres=centres,
        scale=scale,
        note="The broken line is where nothing changes.",
    )


def _token_lines(
    sweep: SweepResult, name: str, array: npt.NDArray[Any], choices: Sequence[Dimension]
) -> Figure:
    """A line for each token asked; of more axes than one, the last is drawn."""
    *others, last = sweep.axes
    columns, scale = _scaled(last, sweep)
    label = labels.metric_label(sweep, name)
    return Figure(
        kind="lines",
        title=f"{label} by {columns.name}",
        values=np.moveaxis(array, -1, -2),
        rows=Dimension("token", labels.metric_tokens(sweep, name)),
        columns=columns,
        choices=[*choices, *map(dimension, others)],
        labels=[label],
        scale=scale,
    )


def _scaled(axis: SweepAxis, sweep: SweepResult) -> tuple[Dimension, str]:
    """An axis of numbers on a fitting scale; as it is where it has others, or an infinite one."""
    over = [one.WhichOneof("over") for one in sweep.normalized.grid.axes]
    if not over or over[sweep.axes.index(axis)] != "values":
        return dimension(axis), "linear"
    numbers = np.array(axis.values, np.float64)
    if not np.isfinite(numbers).all():
        return dimension(axis), "linear"
    scale = labels.dose_scale(numbers)
    return Dimension(axis.name, axis.labels, [float(n) for n in numbers]), scale


def _extremes(sweep: SweepResult, name: str) -> Html:
    few = math.prod(sweep.shape) <= _EXTREMES
    if few or labels.unchanged(sweep, name, 0) is None:
        return Html()
    rows: list[list[parts.Cell]] = []
    for prompt in range(len(sweep.prompts)):
        centre = labels.unchanged(sweep, name, prompt) or 0.0
        found = sweep.extremes(name, n=_EXTREMES, prompt=prompt, relative_to=centre)
        for place, value in found:
            at = [axis.labels[axis.values.index(place[axis.name])] for axis in sweep.axes]
            rows.append([prompt, *at, value, value - centre])
    header = ["prompt", *(axis.name for axis in sweep.axes), "value", "effect"]
    heading = parts.element("h3", "Largest effects")
    return parts.join([heading, parts.table(header, rows)])


def _all_numbers(sweep: SweepResult, name: str) -> Html:
    tokens = labels.metric_tokens(sweep, name) if sweep.array(name).shape != sweep.shape else ()
    rows: list[list[parts.Cell]] = []
    for prompt in range(len(sweep.prompts)):
        array = sweep.array(name, prompt=prompt).reshape(math.prod(sweep.shape), -1)
        for variant, values in enumerate(array):
            place = contents.labels_at(sweep.axes, variant)
            rows.append([prompt, *place, *map(float, values)])
    header = ["prompt", *(axis.name for axis in sweep.axes), *(tokens or ("value",))]
    is_short = len(rows) <= _EXTREMES
    return parts.details("all numbers", parts.table(header, rows), is_open=is_short)


def _top(sweep: SweepResult, name: str) -> Html:
    """The most probable tokens of each variant."""
    rows: list[list[parts.Cell]] = []
    for variant in sweep.variants:
        place = contents.labels_at(sweep.axes, variant.index)
        for one in variant.metrics:
            if one.metric == name:
                cells = parts.join(map(_ranked, one.top))
                rows.append([*place, one.prompt, parts.element("span", cells, class_="ranked")])
    header = [*(axis.name for axis in sweep.axes), "prompt", "most probable"]
    return parts.section(name, parts.table(header, rows))


def _ranked(token: Any) -> Html:
    name = parts.token(token.token, token.token_id)
    return parts.element("span", parts.join([name, f" {parts.percent(token.prob)}"]))


def statistics(sweep: SweepResult) -> Html:
    """For each probe, every variant against layers."""
    shown: list[Html] = []
    for index, probe in enumerate(sweep.normalized.probes):
        place = words.place(sweep.request.probes[index].place)
        shown.append(parts.element("h3", probe.name))
        shown.append(parts.element("p", place, class_="note"))
        for prompt in range(len(sweep.prompts)):
            own = [r for r in sweep.clean_stats if (r.index, r.prompt) == (index, prompt)]
            if own:
                shown += _statistics_figures(sweep, probe.name, prompt, own)
    return parts.section("Statistics", *shown) if shown else Html()


def _statistics_figures(
    sweep: SweepResult, probe: str, prompt: int, own: Sequence[Any]
) -> list[Html]:
    """A map of each statistic: variants by layer, the last two axes that there are."""
    numbers = contents.numbers(own[0])
    if not numbers:
        return []
    shape = next(iter(numbers.values())).shape
    kept = common.kept_dimensions(own[0], shape, sweep.prompts[prompt])
    layers = common.layers_dimension(sorted((r.layer for r in own), key=lambda i: i or 0))
    dimensions = [*map(dimension, sweep.axes), layers, *kept]
    shown = []
    for name in numbers:
        statistic = contents.statistic_of(name)
        array = sweep.stat(probe, statistic, prompt=prompt)
        label = labels.statistic_label(statistic, own[0].site)
        title = f"{label} in prompt {prompt}" if len(sweep.prompts) > 1 else label
        made = cube.figure(title, {"edited": array}, dimensions, labels=[label])
        if made is not None:
            shown.append(parts.figure(made))
    return shown


def reports(sweep: SweepResult) -> Html:
    """What the interventions did in each variant."""
    rows: list[list[parts.Cell]] = []
    for variant in sweep.variants:
        place = contents.labels_at(sweep.axes, variant.index)
        rows += [[*place, *contents.report_row(one)] for one in variant.reports]
    header = [*(axis.name for axis in sweep.axes), *contents.REPORT_HEADER]
    return parts.section("Interventions", parts.table(header, rows)) if rows else Html()
