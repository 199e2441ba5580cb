"""What a result says, as names and values, for all that shows it: notebooks, pages, plots, and the
tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalpel.events import Prediction, ProbeResult, Report, SweepAxis

if TYPE_CHECKING:
    import numpy.typing as npt

# What the two runs of a prompt are called, and whether they are the clean one. In this order.
RUNS = (("clean", True), ("edited", False))

# The names of the values of `report_row`.
REPORT_HEADER = ("intervention", "places", "elements", "changed", "largest change")


def run_name(clean: bool) -> str:
    """Of `RUNS`."""
    return next(name for name, is_clean in RUNS if is_clean == clean)


def report_row(report: Report) -> tuple[str, int, int, int, float]:
    """What an intervention did: see `REPORT_HEADER`."""
    return (
        report.name,
        report.sites_touched,
        report.elements_selected,
        report.elements_changed,
        report.max_abs_change,
    )


def numbers(result: ProbeResult) -> dict[str, npt.NDArray[np.float64]]:
    """Statistics and quantiles by name; a quantile is `q0.5`."""
    return {**result.statistics, **{f"q{q:g}": v for q, v in result.quantiles.items()}}


def statistic_of(name: str) -> str | float:
    """A name of `numbers` as results know it: a quantile is a number."""
    return float(name[1:]) if name[0] == "q" and name[1:2].isdigit() else name


def beside_each_other(
    predictions: Iterable[Prediction],
) -> dict[tuple[int, int], list[Prediction]]:
    """By prompt and position, in the order in which they came; of each the clean run first."""
    found: dict[tuple[int, int], list[Prediction]] = {}
    for one in predictions:
        found.setdefault((one.prompt, one.position), []).append(one)
    for pair in found.values():
        pair.sort(key=lambda one: not one.clean)
    return found


def labels_at(axes: Sequence[SweepAxis], variant: int) -> list[str]:
    """Where a variant is along the axes of its sweep, in words."""
    return [axis.labels[i] for axis, i in zip(axes, _coordinates(axes, variant), strict=True)]


def values_at(axes: Sequence[SweepAxis], variant: int) -> dict[str, float | int | str]:
    """Where a variant is along the axes of its sweep, by the name of the axis."""
    return {
        axis.name: axis.values[i] for axis, i in zip(axes, _coordinates(axes, variant), strict=True)
    }


def _coordinates(axes: Sequence[SweepAxis], variant: int) -> list[int]:
    shape = tuple(len(axis.labels) for axis in axes)
    return [int(i) for i in np.unravel_index(variant, shape)]
