"""The answer to a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents, display, lookup
from scalpel.events import (
    Cost,
    Finished,
    FirstNonFinite,
    MetricValue,
    SweepAxis,
    SweepClean,
    SweepEvent,
    SweepStarted,
    Tokens,
    Variant,
)
from scalpel.stats import Stats
from scalpel.v1 import sweep_pb2

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas
    import xarray


class SweepResult:
    """Everything that a sweep brought. Immutable, but for the elements of arrays.

    A list of variants has one axis, `variant`. A metric is said by its name, and may be left out
    where there is only one. `prompt` is an index.
    """

    request: sweep_pb2.SweepRequest
    """The request as it was sent."""
    normalized: sweep_pb2.SweepRequest
    """The request as the server understood it."""
    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What was foretold to be its cost."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens: `.ids` and `.tokens`."""
    sources: tuple[Tokens, ...]
    """The sources as tokens."""
    axes: tuple[SweepAxis, ...]
    """The axes: `.name`, `.labels`, `.values`."""
    variants: tuple[Variant, ...]
    """By index."""
    finished: Finished | None
    """Times, and how much was computed; None where the sweep was cut short."""

    def __init__(self, request: sweep_pb2.SweepRequest, events: Sequence[SweepEvent]):
        started = next(event for event in events if isinstance(event, SweepStarted))
        variants = [event for event in events if isinstance(event, Variant)]
        self.request, self.normalized = request, started.normalized
        self.request_id, self.digest = started.request_id, started.digest
        self.cost, self.prompts, self.sources = started.cost, started.prompts, started.sources
        self.variants = tuple(sorted(variants, key=lambda variant: variant.index))
        self.axes = started.axes or (_variant_axis(request),)
        self.finished = next((e for e in reversed(events) if isinstance(e, Finished)), None)
        clean = next((e for e in events if isinstance(e, SweepClean)), SweepClean((), ()))
        self._names = lookup.Names(request.probes, self.normalized.probes)
        self._clean_metrics = clean.metrics
        self.clean_stats = Stats(clean.stats, self._names)

    clean_stats: Stats
    """Statistics of the clean run of the prompts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(metric.name for metric in self.normalized.metrics)

    def array(self, metric: str | None = None, *, prompt: int = 0) -> npt.NDArray[np.float64]:
        """A metric over all variants: [*shape], or [*shape, token] where several tokens were asked.
        NaN where the model's values were not finite, and where a sweep was cut short."""
        index = self._metric(metric)
        values = [_values(variant.metrics, index, prompt) for variant in self.variants]
        width = max((len(value) for value in values), default=1)
        if width == 0:
            raise LookupError(f"{self.metrics[index]!r} has no numbers; see `Variant.top`")
        array = np.full((math.prod(self.shape), width), np.nan)
        for variant, value in zip(self.variants, values, strict=True):
            array[variant.index] = value
        return array.reshape(self.shape if width == 1 else (*self.shape, width))

    def __getitem__(self, metric: str) -> npt.NDArray[np.float64]:
        """`array(metric)`: of the first prompt."""
        return self.array(metric)

    def clean(self, metric: str | None = None, *, prompt: int = 0) -> Any:
        """A metric's value in the clean run: a number, or an array [token] where several were
        asked. Of a `patching_score` [2]: the logit differences of prompt and source, where the
        score is 0 and 1. Not for metrics that compare with the clean run."""
        index = self._metric(metric)
        values = _values(self._clean_metrics, index, prompt)
        if not values:
            raise LookupError(f"{self.metrics[index]!r} has no value in the clean run")
        return values[0] if len(values) == 1 else np.array(values)

    def stat(
        self, place: str, statistic: str | float, *, layer: int | None = None, prompt: int = 0
    ) -> npt.NDArray[np.float64]:
        """A statistic, or a quantile by its number, over all variants: [*shape, layer, *kept axes],
        without the layer's axis where there is one or `layer` says which. Of the clean run: see
        `clean_stats`."""
        arrays = {
            variant.index: self.stats_of(variant).array(
                place, statistic, layer=layer, prompt=prompt
            )
            for variant in self.variants
        }
        one = next(iter(arrays.values()))
        stacked = np.full((math.prod(self.shape), *one.shape), np.nan)
        for index, array in arrays.items():
            stacked[index] = array
        return stacked.reshape(*self.shape, *one.shape)

    def stats_of(self, variant: Variant) -> Stats:
        """Statistics of one variant."""
        return Stats(variant.stats, self._names)

    def variant(self, *coordinates: int) -> Variant:
        """The variant at these indices along the axes."""
        index = int(np.ravel_multi_index(coordinates, self.shape))
        for variant in self.variants:
            if variant.index == index:
                return variant
        raise LookupError(f"variant {index} did not come: the sweep was cut short")

    def extremes(
        self, metric: str | None = None, *, n: int = 5, prompt: int = 0, relative_to: float = 0.0
    ) -> list[tuple[dict[str, Any], float]]:
        """The n variants whose value is furthest from `relative_to`, the furthest first: where they
        are along the axes, and the value. Those without a number (NaN) are none of them."""
        array = self.array(metric, prompt=prompt)
        if array.shape != self.shape:
            raise ValueError("extremes needs a metric of one number")
        distances = np.abs(array - relative_to).ravel()
        order = np.argsort(-distances, kind="stable")  # NaN is last.
        order = order[~np.isnan(distances[order])][:n]
        return [(contents.values_at(self.axes, int(i)), float(array.flat[i])) for i in order]

    def to_xarray(
        self, metric: str | None = None, *, prompt: int | None = None
    ) -> xarray.DataArray:
        """A metric with its axes named: dimensions (prompt, *axes), `token` where several were
        asked, and labels as coordinates; with `prompt`, of one prompt alone. Needs xarray."""
        import xarray

        which = range(len(self.prompts)) if prompt is None else [prompt]
        array = np.stack([self.array(metric, prompt=p) for p in which])
        dims = ["prompt", *(axis.name for axis in self.axes)]
        coords: dict[str, Any] = {"prompt": list(which)}
        for axis in self.axes:
            coords[axis.name] = list(axis.values)
            if axis.labels != tuple(map(str, axis.values)):
                coords[f"{axis.name}_label"] = (axis.name, list(axis.labels))
        if array.ndim > len(dims):
            dims.append("token")
        name = self.metrics[self._metric(metric)]
        labelled = xarray.DataArray(array, dims=dims, coords=coords, name=name)
        return labelled if prompt is None else labelled.isel(prompt=0)

    def to_dataset(self) -> xarray.Dataset:
        """All metrics with numbers, by name. Needs xarray."""
        import xarray

        numbers = [m.name for m in self.normalized.metrics if m.WhichOneof("kind") != "top_k"]
        return xarray.Dataset({name: self.to_xarray(name) for name in numbers})

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each number: a column for each axis, then metric, prompt, token (its index
        where several were asked), value. Needs pandas."""
        import pandas

        rows = []
        for variant in self.variants:
            place = contents.values_at(self.axes, variant.index)
            for metric in variant.metrics:
                for token, value in enumerate(metric.values):
                    about = {"metric": metric.metric, "prompt": metric.prompt, "token": token}
                    rows.append({**place, **about, "value": value})
        return pandas.DataFrame(rows)

    def _metric(self, metric: str | None) -> int:
        if metric is None and len(self.metrics) == 1:
            return 0
        if metric not in self.metrics:
            raise LookupError(f"there is no metric {metric!r}; there is: {list(self.metrics)}")
        return self.metrics.index(metric)

    @property
    def first_non_finite(self) -> FirstNonFinite | None:
        """Where a value that is infinite or NaN arose, in the first variant that has one; None
        where there is none. What depends on such a value is NaN, or means nothing."""
        return self.finished.first_non_finite if self.finished else None

    def non_finite_text(self) -> str:
        """What is to be said of values that are infinite or NaN; empty where there is none."""
        finished = self.finished
        if finished is None or finished.first_non_finite_variant is None:
            return ""
        at = contents.labels_at(self.axes, finished.first_non_finite_variant)
        first = ", ".join(f"{axis.name} {label}" for axis, label in zip(self.axes, at, strict=True))
        count = finished.non_finite_variants
        several = f"{count} variants; the first is {first}, " if count > 1 else f"{first}, "
        return f"{several}at {finished.first_non_finite}"

    def __repr__(self) -> str:
        shape = " x ".join(f"{len(axis.labels)} {axis.name}" for axis in self.axes)
        cut = "" if self.finished else f", cut short after {len(self.variants)} variants"
        metrics = ", ".join(self.metrics)
        text = self.non_finite_text()
        first = f"; not finite: {text}" if text else ""
        return f"<{type(self).__name__} {self.request_id}: {shape}; {metrics}{cut}{first}>"

    def _repr_html_(self) -> str:
        parts = [display.title(repr(self)), display.prompts(self.prompts)]
        for name in self.metrics:
            for prompt in display.first_prompts(self.prompts):
                parts.append(self._metric_html(name, prompt))
        if self.finished is not None:
            parts.append(display.finished(self.finished, self.non_finite_text()))
        return "".join(parts)

    def _metric_html(self, name: str, prompt: int) -> str:
        try:
            array = self.array(name, prompt=prompt)
        except LookupError:  # top_k has no numbers.
            return ""
        try:
            clean = self.clean(name, prompt=prompt)
        except LookupError:  # It compares with the clean run.
            clean = None
        one = clean if isinstance(clean, float) else None
        furthest = self.extremes(name, prompt=prompt) if array.shape == self.shape else []
        return display.metric(name, prompt, array, self.axes, one, furthest)


def _values(metrics: Sequence[MetricValue], index: int, prompt: int) -> tuple[float, ...]:
    return next((m.values for m in metrics if m.index == index and m.prompt == prompt), ())


def _variant_axis(request: sweep_pb2.SweepRequest) -> SweepAxis:
    names = [v.name or f"variants[{i}]" for i, v in enumerate(request.variants.variants)]
    return SweepAxis("variant", tuple(names), tuple(names))
