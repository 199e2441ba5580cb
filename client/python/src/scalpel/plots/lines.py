"""Lines: statistics by layer and by step, and dose-response curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents, labels
from scalpel.plots import style

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from scalpel.generation_result import GenerationResult
    from scalpel.run_result import RunResult
    from scalpel.sweep_result import SweepResult


def stat_by_layer(
    run: RunResult,
    place: str,
    statistic: str | float = "std",
    *,
    prompt: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """A statistic over layers, of the edited run and, where it came back, of the clean one.

    >>> plots.stat_by_layer(run, "resid_post", "std")

    place, statistic, prompt: as in `run.stat`; a number is a quantile. Of a probe that keeps no
    axis.
    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    ax = style.axes_or_new(ax, (6.4, 3.8))
    looks = {True: (style.CLEAN, "--s"), False: (style.EDITED, "-o")}
    for clean in _runs(run, place, prompt):
        found = run.stats.select(place, prompt=prompt, clean=clean)
        if found[0].axes:
            kept = ", ".join(found[0].axes)
            raise ValueError(f"{place!r} keeps {kept}: it is more than one number a layer")
        layers = [one.layer for one in found if one.layer is not None]
        if not layers:
            raise ValueError(f"{place!r} has no layers")
        values = np.atleast_1d(run.stat(place, statistic, prompt=prompt, clean=clean))
        colour, look = looks[clean]
        ax.plot(layers, values, look, color=colour, label=contents.run_name(clean), markersize=4)
    ax.set_xlabel("layer")
    ax.set_ylabel(style.plain(labels.statistic_label(statistic, place)))
    ax.set_title(style.plain(f"{statistic} of {place} by layer, prompt {prompt}"))
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def _runs(run: RunResult, place: str, prompt: int) -> list[bool]:
    """Whether clean: the clean run first, where there is one, so that the edited lies above it."""
    try:
        run.stats.select(place, prompt=prompt, clean=True)
    except LookupError:
        return [False]
    return [True, False]


def stat_by_step(
    generation: GenerationResult,
    place: str,
    statistic: str | float = "std",
    *,
    layer: int | None = None,
    prompt: int = 0,
    continuation: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """A statistic over the steps of a generation, of the steered stream and, where there is one, of
    its twin.

    >>> plots.stat_by_step(generation, "resid_post", "l2_norm", layer=9)

    place, statistic, layer: as in `GeneratedStream.stat`; of a probe that keeps no axis.
    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    ax = style.axes_or_new(ax, (6.4, 3.8))
    looks = {True: (style.CLEAN, "--s", "unsteered"), False: (style.EDITED, "-o", "steered")}
    own = [
        stream
        for stream in generation.streams
        if (stream.prompt, stream.continuation) == (prompt, continuation)
    ]
    for stream in sorted(own, key=lambda one: not one.unsteered):
        values = stream.stat(place, statistic, layer=layer)
        if values.ndim != 1:
            raise ValueError(f"{place!r} is an array {values.shape[1:]} at each step; say a layer")
        colour, look, name = looks[stream.unsteered]
        steps = stream.stat_steps(place)
        ax.plot(steps, values, look, color=colour, label=name, markersize=4)
    ax.set_xlabel("step")
    ax.set_ylabel(style.plain(labels.statistic_label(statistic, place)))
    where = f"prompt {prompt}, continuation {continuation}"
    ax.set_title(style.plain(f"{statistic} of {place} by step, {where}"))
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def dose_response(
    sweep: SweepResult,
    metric: str | None = None,
    *,
    prompt: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """A metric over the values of an operation, such as the factor of `scale`; a broken line says
    what it is where nothing changes.

    >>> sweep = model.sweep(prompt, scale("resid_post", layer=9),
    ...                     over=values([0, 0.1, 1, 10], name="factor"), metrics=prob(" Mary"))
    >>> plots.dose_response(sweep)

    sweep: over `values`, and at most one axis more, which then gives a line each; as does a metric
        of several tokens.
    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    over = [axis.WhichOneof("over") for axis in sweep.normalized.grid.axes]
    if "values" not in over:
        raise ValueError("no axis of this sweep is of values; see heat_map")
    dose = over.index("values")
    metric = labels.message(sweep, metric).name
    array = np.moveaxis(sweep.array(metric, prompt=prompt), dose, 0)
    others = [axis for i, axis in enumerate(sweep.axes) if i != dose]
    names = labels.metric_tokens(sweep, metric) if array.ndim > len(over) else ()
    if array.ndim > 2:
        raise ValueError("more than two axes; sweep over fewer, or draw from sweep.array()")
    ax = style.axes_or_new(ax, (6.4, 3.8))
    if others:
        names = tuple(f"{others[0].name} {label}" for label in others[0].labels)
    doses = np.array(sweep.axes[dose].values, np.float64)
    _draw_doses(ax, doses, array.reshape(len(doses), -1), names)
    baseline = labels.unchanged(sweep, metric, prompt)
    if baseline is not None:
        ax.axhline(baseline, color=style.CLEAN, linestyle="--", label="clean")
    ax.set_xlabel(style.plain(sweep.axes[dose].name))
    ax.set_ylabel(style.plain(labels.metric_label(sweep, metric)))
    title = f"{labels.metric_title(sweep, metric)} by {sweep.axes[dose].name}, prompt {prompt}"
    ax.set_title(style.plain(title))
    ax.grid(alpha=0.3)
    if names or baseline is not None:
        ax.legend(fontsize="small", ncols=1 + len(names) // 13)
    return ax


def _draw_doses(
    ax: Axes,
    doses: npt.NDArray[np.float64],
    array: npt.NDArray[np.float64],
    names: tuple[str, ...],
) -> None:
    order = np.argsort(doses, kind="stable")
    for i, line in enumerate(array.T):
        colour: Any = style.LINES[i % len(style.LINES)]
        if len(array.T) > len(style.LINES):  # An ordered axis, such as layers.
            import matplotlib

            colour = matplotlib.colormaps[style.SEQUENTIAL](i / (len(array.T) - 1))
        label = style.plain(names[i]) if names else "edited"
        ax.plot(doses[order], line[order], "-o", color=colour, label=label, markersize=4)
    scale = labels.dose_scale(doses)
    if scale == "symlog":
        ax.set_xscale("symlog", linthresh=float(np.min(np.abs(doses[doses != 0]))))
    else:
        ax.set_xscale(scale)
