"""From arrays of runs, layers and axes to figures: lines of what has one axis, maps of what has
more. The clean run and the difference to it are there wherever a clean run came back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel.report.figures import VALUES_MAX, Dimension, Figure

if TYPE_CHECKING:
    import numpy.typing as npt

DIFFERENCE = "edited − clean"


def figure(
    title: str,
    runs: Mapping[str, npt.NDArray[Any]],
    dimensions: Sequence[Dimension],
    *,
    labels: Sequence[str] = ("",),
    chosen: int = 0,
    domain: tuple[float, float] | None = None,
    centre: float = math.nan,
    note: str = "",
) -> Figure | None:
    """A figure of arrays of the same shape, by run (`clean`, `edited`); None where there is nothing
    to see (one number) or too much.

    The first `chosen` dimensions are always for the reader to choose, and `labels` says what the
    numbers are for each choice along the first of them. Of the others the last two are drawn; axes
    of one place are dropped. `centre` and `domain` are of a map's colours.
    """
    arrays = {name: np.asarray(array, np.float64) for name, array in runs.items()}
    shape = tuple(len(dimension.labels) for dimension in dimensions)
    keep = [i for i, size in enumerate(shape) if size > 1 or i < chosen]
    arrays = {n: a.reshape([shape[i] for i in keep]) for n, a in arrays.items()}
    dimensions = [dimensions[i] for i in keep]
    if len(dimensions) == chosen or math.prod(shape) * len(runs) > VALUES_MAX:
        return None
    drawn = " and ".join(dimension.name for dimension in dimensions[chosen:][-2:])
    about = {"title": f"{title} by {drawn}", "note": note}
    if len(dimensions) == chosen + 1:
        return _lines(arrays, dimensions, labels, about)
    return _map(arrays, dimensions, labels, {**about, "domain": domain}, centre)


def _lines(
    arrays: Mapping[str, npt.NDArray[Any]],
    dimensions: Sequence[Dimension],
    labels: Sequence[str],
    about: Mapping[str, Any],
) -> Figure:
    *choices, columns = dimensions
    return Figure(
        kind="lines",
        values=np.stack(list(arrays.values()), axis=-2),
        rows=Dimension("run", list(arrays) if len(arrays) > 1 else ["value"]),
        columns=columns,
        choices=choices,
        labels=_spread(labels, [len(choice.labels) for choice in choices]),
        **about,
    )


def _map(
    arrays: Mapping[str, npt.NDArray[Any]],
    dimensions: Sequence[Dimension],
    labels: Sequence[str],
    about: Mapping[str, Any],
    centre: float,
) -> Figure:
    shown = {name: arrays[name] for name in sorted(arrays, reverse=True)}
    if len(shown) == 2:
        with np.errstate(invalid="ignore"):  # Two infinities have no difference.
            shown[DIFFERENCE] = shown["edited"] - shown["clean"]
    *choices, rows, columns = dimensions
    run = Dimension("run", list(shown))
    choices = [*choices, run]
    # The difference is the last of the runs, and the runs the last of the choices.
    centres = [0.0 if name == DIFFERENCE else centre for name in shown]
    times = math.prod(len(choice.labels) for choice in choices[:-1])
    return Figure(
        kind="map",
        values=np.stack(list(shown.values()), axis=-3),
        rows=rows,
        columns=columns,
        choices=choices,
        labels=_spread(labels, [len(choice.labels) for choice in choices]),
        centres=centres * times,
        **about,
    )


def _spread(labels: Sequence[str], sizes: Sequence[int]) -> Sequence[str]:
    """Labels along the first choice, for every choice in order."""
    if len(labels) == 1 or not sizes:
        return labels[:1]
    return [label for label in labels for _ in range(math.prod(sizes[1:]))]
