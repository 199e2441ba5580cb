"""How figures look: colours that the colour-blind tell apart, and axes with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

# Of Okabe and Ito's palette; the clean run is also dashed, for prints in grey.
CLEAN, EDITED = "#0072B2", "#D55E00"
LINES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# ColorBrewer's, which it lists as safe for the colour-blind: blue below, red above.
DIVERGING = "RdBu_r"
SEQUENTIAL = "cividis"
ATTENTION = "Blues"
# What has no number, in every map.
MISSING = "0.75"
_TICKS_MAX = 48


def axes_or_new(axes: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes given, or those of a new figure of this size in inches."""
    if axes is not None:
        return axes
    from matplotlib import pyplot

    _, made = pyplot.subplots(figsize=size, layout="constrained")
    return made


def map_size(rows: int, columns: int) -> tuple[float, float]:
    """Of a figure with a map of so many cells, in inches."""
    return min(3.0 + 0.34 * columns, 14.0), min(1.8 + 0.26 * rows, 10.0)


def draw_map(axes: Axes, values: npt.NDArray[Any], **style: Any) -> Any:
    """A matrix as cells; the first row is at the top. Returns the image."""
    import matplotlib

    colours = matplotlib.colormaps[style.pop("cmap")].with_extremes(bad=MISSING)
    shown = np.ma.masked_invalid(np.asarray(values, np.float64))
    image = axes.imshow(shown, cmap=colours, aspect="auto", interpolation="nearest", **style)
    axes.grid(False)
    return image


def diverging(values: npt.NDArray[Any], centre: float) -> Any:
    """The norm of a diverging map: `centre` is white, and both sides reach as far. A centre that is
    not finite gives way to the middle of the values."""
    from matplotlib.colors import CenteredNorm

    finite = values[np.isfinite(values)]
    if not np.isfinite(centre):
        centre = float(finite.min() + finite.max()) / 2 if len(finite) else 0.0
    reach = float(np.max(np.abs(finite - centre), initial=0.0))
    return CenteredNorm(vcenter=centre, halfrange=reach or 1.0)


def name_ticks(axis: Any, labels: Sequence[str], name: str) -> None:
    """Names the indices along one axis of a map; of many, every so many."""
    every = -(-len(labels) // _TICKS_MAX)
    ticks = range(0, len(labels), every)
    is_long = max(map(len, labels)) > 3
    turned = {"rotation": 90} if axis.axis_name == "x" and is_long else {}
    axis.set_ticks(ticks, labels=[plain(labels[i]) for i in ticks], **turned)
    axis.set_label_text(name)


def plain(text: str) -> str:
    """Text without what matplotlib would read as mathematics, on one line."""
    return text.replace("$", r"\$").replace("\n", "\\n")
