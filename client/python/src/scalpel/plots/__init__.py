"""Plots of results with matplotlib: functions take a result and an optional Axes, and return the
Axes. Needs the extra `plots`.

>>> from scalpel import plots
>>> plots.stat_by_layer(run, "resid_post", "std").figure.savefig("std.png")
"""

from scalpel.plots.lines import dose_response, stat_by_layer, stat_by_step
from scalpel.plots.maps import attention, heat_map, lens_table

__all__ = [
    "attention", "dose_response", "heat_map", "lens_table", "stat_by_layer", "stat_by_step",
]  # fmt: skip
