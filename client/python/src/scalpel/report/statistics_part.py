"""What the probes of a run saw: a figure and a table for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents, indices
from scalpel.events import ProbeResult, Tokens
from scalpel.labels import statistic_label
from scalpel.report import common, cube, parts, words
from scalpel.report.figures import Dimension, Figure
from scalpel.report.parts import Html

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.run_result import RunResult

Results = Sequence[ProbeResult]
_POSITIONS = ("position", "query", "key")


def statistics(run: RunResult) -> Html:
    """A part for each probe."""
    if not run.normalized.probes:
        return Html()
    shown = []
    for index, probe in enumerate(run.normalized.probes):
        results = [result for result in run.stats if result.index == index]
        shown.append(parts.element("h3", probe.name))
        when = "before" if results[0].when == "before" else "after"
        where = f"{words.place(run.request.probes[index].place)}; {when} the interventions there"
        shown.append(parts.element("p", where, class_="note"))
        shown += map(parts.figure, probe_figures(run, probe.name))
        shown.append(table(results))
    return parts.section("Statistics", *shown)


def probe_figures(run: RunResult, name: str) -> list[Figure]:
    """The figures of one probe."""
    index = next(i for i, probe in enumerate(run.normalized.probes) if probe.name == name)
    results = [result for result in run.stats if result.index == index]
    return list(figures(results, run.prompts))


def figures(results: Results, prompts: Sequence[Tokens]) -> Iterator[Figure]:
    """Of the numbers, and of the histogram. What is kept by position has a figure for each prompt,
    because prompts differ in their tokens."""
    all_prompts = sorted({result.prompt for result in results})
    apart = any(axis in _POSITIONS for axis in results[0].axes)
    for group in [[index] for index in all_prompts] if apart else [all_prompts]:
        found = [result for result in results if result.prompt in group]
        which = f" of prompt {group[0]}" if apart and len(all_prompts) > 1 else ""
        title = f"{found[0].site}{which}"
        names = list(contents.numbers(found[0]))
        if names:
            yield from _numbers(title, found, names, prompts[group[0]])
        if found[0].histogram is not None:
            yield from _histogram(title, found, prompts[group[0]])


def _numbers(title: str, found: Results, names: list[str], prompt: Tokens) -> Iterator[Figure]:
    shape = next(iter(contents.numbers(found[0]).values())).shape
    kept = common.kept_dimensions(found[0], shape, prompt)
    runs, around = _by_run(found, lambda result: np.stack(list(contents.numbers(result).values())))
    # [prompt, layer, statistic, *kept] to [statistic, prompt, layer, *kept]
    runs = {name: np.moveaxis(array, 2, 0) for name, array in runs.items()}
    dimensions = [Dimension("statistic", names), *around, *kept]
    labels = [statistic_label(contents.statistic_of(name), found[0].site) for name in names]
    made = cube.figure(title, runs, dimensions, labels=labels, chosen=2)
    if made is not None:
        yield made


def _histogram(title: str, found: Results, prompt: Tokens) -> Iterator[Figure]:
    first = found[0].histogram
    assert first is not None
    kept = common.kept_dimensions(found[0], first.below.shape, prompt)
    edges = [f"{edge:.4g}" for edge in first.edges]
    bins = [f"< {edges[0]}", *map("{} – {}".format, edges, edges[1:]), f"> {edges[-1]}"]
    runs, around = _by_run(found, _counts)
    # [prompt, layer, *kept, bin] to [prompt, *kept, layer, bin]
    runs = {name: np.moveaxis(array, 1, -2) for name, array in runs.items()}
    dimensions = [around[0], *kept, around[1], Dimension("value", bins)]
    title = f"Histogram of {title}"
    made = cube.figure(title, runs, dimensions, labels=["elements"], chosen=1 + len(kept))
    if made is not None:
        yield made


def _counts(result: ProbeResult) -> npt.NDArray[np.float64]:
    histogram = result.histogram
    assert histogram is not None
    sides = (histogram.below[..., None], histogram.counts, histogram.above[..., None])
    return np.concatenate(sides, axis=-1).astype(np.float64)


def _by_run(
    found: Results, values: Any
) -> tuple[dict[str, npt.NDArray[np.float64]], list[Dimension]]:
    """Arrays [prompt, layer, *values] by run, and what prompts and layers there are."""
    prompts = sorted({result.prompt for result in found})
    layers = sorted({result.layer for result in found}, key=lambda layer: layer or 0)
    place = {(result.clean, result.prompt, result.layer): values(result) for result in found}
    shape = next(iter(place.values())).shape
    missing = np.full(shape, np.nan)
    runs = {}
    for name, clean in contents.RUNS:
        if any(result.clean == clean for result in found):
            grid = [[place.get((clean, p, layer), missing) for layer in layers] for p in prompts]
            runs[name] = np.array(grid)
    around = [Dimension("prompt", list(map(str, prompts))), common.layers_dimension(layers)]
    return runs, around


def table(results: Results) -> Html:
    """A row for each place, clean and edited beside each other."""
    has_clean = any(result.clean for result in results)
    clean = {(r.prompt, r.layer): contents.numbers(r) for r in results if r.clean}
    names = list(contents.numbers(results[0]))
    if not names:
        return Html()
    runs = ["", ", clean"] if has_clean else [""]
    header = ["layer", "prompt", *results[0].axes, *(n + run for n in names for run in runs)]
    rows = []
    for result in results:
        if result.clean:
            continue
        edited, before = contents.numbers(result), clean.get((result.prompt, result.layer), {})
        for index in np.ndindex(next(iter(edited.values())).shape):
            at = indices.at(result.axes, result.indices, index)
            cells: list[parts.Cell] = [result.layer, result.prompt, *at.values()]
            for name in names:
                cells.append(float(edited[name][index]))
                if has_clean:
                    cells.append(float(before[name][index]) if name in before else None)
            rows.append(cells)
    return parts.table(header, rows)
