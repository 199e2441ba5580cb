"""Interactive figures as data: an array, what its axes are, and how a reader goes through it. The
script of the page draws them; nothing here knows HTML or results."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Numbers in one figure. Of more, a reader gets a table of what they come to.
VALUES_MAX = 200_000


@dataclasses.dataclass(frozen=True)
class Dimension:
    """An axis of a figure's array."""

    name: str
    """Such as `layer`."""
    labels: Sequence[str]
    """What each index is."""
    numbers: Sequence[float] | None = None
    """Where the indices stand on a scale of numbers; left out, one beside the other."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """Lines or a map: of an array [*choices, rows, columns], one matrix at a time."""

    kind: Literal["lines", "map"]
    """`lines`: a line for each row. `map`: a cell for each number."""
    title: str
    """Above the figure."""
    values: npt.NDArray[Any]
    """[*choices, rows, columns]; what is not finite is shown as missing."""
    rows: Dimension
    """The lines, or the vertical axis of a map."""
    columns: Dimension
    """The horizontal axis."""
    choices: Sequence[Dimension] = ()
    """What the reader chooses."""
    labels: Sequence[str] = ("",)
    """What the numbers are, with their unit: one for all, or one for each choice in order."""
    centres: Sequence[float] = (math.nan,)
    """Where nothing changes: the middle of a map's colours, a broken line among lines. NaN: there
    is none. One for all, or one for each choice in order."""
    domain: tuple[float, float] | None = None
    """The ends of a map's colours; left out, those of the matrix that is shown."""
    scale: str = "linear"
    """Of `columns.numbers`: `linear`, `log` or `symlog`."""
    note: str = ""
    """Below the title: how to read it."""

    def to_json(self) -> str:
        """For the script. Six digits are enough to draw and to read."""
        values = np.asarray(self.values, np.float64)
        sides = (*self.choices, self.rows, self.columns)
        assert values.shape == tuple(len(side.labels) for side in sides), self.title
        data = {
            "kind": self.kind,
            "title": self.title,
            "choices": [dataclasses.asdict(choice) for choice in self.choices],
            "rows": dataclasses.asdict(self.rows),
            "columns": dataclasses.asdict(self.columns),
            "labels": list(self.labels),
            "centres": [_number(centre) for centre in self.centres],
            "domain": self.domain,
            "scale": self.scale,
            "values": [_number(value) for value in values.ravel()],
        }
        return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
