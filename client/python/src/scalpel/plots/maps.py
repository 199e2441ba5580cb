"""Heat maps: sweeps over two axes, attention patterns, the logit lens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import labels
from scalpel.patching import PatchingResult
from scalpel.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scalpel.run_result import RunResult
    from scalpel.study.lens import LogitLens
    from scalpel.sweep_result import SweepResult


def heat_map(
    sweep: SweepResult,
    metric: str | None = None,
    *,
    prompt: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A metric over the two axes of a sweep, such as layer and head, or layer and position (named
    with its token). White is the value where nothing changes, the clean run's; red is above it,
    blue below, both to the same distance. A metric that only grows (KL divergence) or that counts
    (ranks) has a map without a centre.

    >>> plots.heat_map(model.sweep(prompt, zero("z"), over=["layers", "heads"],
    ...                            metrics=logit_diff(" Mary", " John")))

    metric: may be left out where there is one; of a `PatchingResult`, then the score.
    prompt: by index; left out, the first, or of a `PatchingResult`'s score the mean over pairs.
    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    metric = labels.message(sweep, metric).name
    kind = labels.metric_kind(sweep, metric)
    is_mean = prompt is None and kind == "patching_score" and isinstance(sweep, PatchingResult)
    which = range(len(sweep.prompts)) if is_mean else [prompt or 0]
    array = np.stack([sweep.array(metric, prompt=i) for i in which]).mean(axis=0)
    if array.ndim != 2 or array.shape != sweep.shape:
        raise ValueError(f"{metric!r} is an array {array.shape}; a map has two axes of the sweep")
    ax = style.axes_or_new(ax, style.map_size(*array.shape))
    centre = labels.unchanged(sweep, metric, prompt or 0)
    assert centre is not None
    if kind in labels.ONE_SIDED:
        image = style.draw_map(ax, array, cmap=style.SEQUENTIAL)
    else:
        norm = style.diverging(array, centre)
        image = style.draw_map(ax, array, cmap=style.DIVERGING, norm=norm)
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(style.plain(labels.metric_label(sweep, metric)))
    bar.ax.axhline(centre, color="black", linewidth=1)
    for axis, along in zip((ax.yaxis, ax.xaxis), sweep.axes, strict=True):
        style.name_ticks(axis, along.labels, along.name)
    whose = f"mean over {len(which)} pairs" if len(which) > 1 else f"prompt {which[0]}"
    title = labels.metric_title(sweep, metric)
    ax.set_title(style.plain(f"{title}, {whose}; {centre:.4g} if nothing changes"))
    return ax


def attention(
    run: RunResult,
    place: str = "pattern",
    *,
    head: int | None = None,
    layer: int | None = None,
    prompt: int = 0,
    clean: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """The attention weights of one head: each row is a query, and sums to 1 over its keys.

    >>> run = model.run(prompt, capture="pattern")
    >>> plots.attention(run, layer=5, head=2)

    place: of a capture of `pattern`, as in `run.capture`.
    head: as the model counts them; may be left out where one was captured. `layer` likewise.
    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    tensor = run.tensor(place, layer=layer, prompt=prompt, clean=clean)
    if tensor.site != "pattern":
        raise ValueError(f"{place!r} is a capture of {tensor.site}, not of pattern")
    heads, queries, keys = labels.tensor_labels(run, tensor)
    if head is None and len(heads) > 1:
        raise LookupError(f"{place!r} has heads {', '.join(heads)}; say which")
    if head is not None and str(head) not in heads:
        raise LookupError(f"{place!r} has no head {head}; it has {', '.join(heads)}")
    index = 0 if head is None else heads.index(str(head))
    weights = tensor.numpy()[index]
    ax = style.axes_or_new(ax, style.map_size(*weights.shape))
    image = style.draw_map(ax, weights, cmap=style.ATTENTION, vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax).set_label("attention weight")
    style.name_ticks(ax.yaxis, queries, "query position")
    style.name_ticks(ax.xaxis, keys, "key position")
    which = "clean" if clean else "edited" if run.reports else "as the model is"
    ax.set_title(f"attention of head {heads[index]}, layer {tensor.layer}, {which}")
    return ax


def lens_table(lens: LogitLens, *, ax: Axes | None = None) -> Axes:
    """The logit lens as a table: the most probable token after each layer and position, the darker
    the more probable. The last layer, which is the model's own answer, is at the top.

    >>> plots.lens_table(scalpel.study.logit_lens(model, prompt))

    ax: where to draw; left out, a new figure. Returns the Axes.
    """
    probabilities = np.array([[cell[0].prob for cell in row] for row in lens.top])[::-1]
    rows, columns = probabilities.shape
    ax = style.axes_or_new(ax, (2.4 + 0.85 * columns, 1.6 + 0.3 * rows))
    image = style.draw_map(ax, probabilities, cmap=style.ATTENTION, vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, fraction=0.03, pad=0.01).set_label("probability")
    for i, row in enumerate(reversed(lens.top)):
        for j, cell in enumerate(row):
            _cell_text(ax, i, j, cell[0])
    style.name_ticks(ax.yaxis, lens.layers[::-1], "after layer")
    names = labels.token_labels(lens.prompt)
    style.name_ticks(ax.xaxis, [names[i] for i in lens.positions], "position")
    ax.set_title("logit lens: the most probable next token, read off after each layer")
    return ax


def _cell_text(ax: Axes, row: int, column: int, top: Any) -> None:
    text = repr(top.shown)[1:-1] if math.isfinite(top.prob) else "NaN"
    colour = "white" if top.prob > 0.6 else "black"
    ax.text(column, row, style.plain(text), ha="center", va="center", fontsize=7, color=colour)
