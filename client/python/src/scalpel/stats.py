"""Statistics of a run or of one variant of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from scalpel import contents, display, indices, lookup
from scalpel.events import ProbeResult

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas
    import xarray


class Stats(Sequence[ProbeResult]):
    """Results of probes, in the order in which they were computed. Immutable.

    A place is said by the probe's name, by the site as it was written in the request, or by the
    site's own name.
    """

    def __init__(self, results: Sequence[ProbeResult], names: lookup.Names):
        self._results = tuple(results)
        self._names = names

    @overload
    def __getitem__(self, index: int) -> ProbeResult: ...
    @overload
    def __getitem__(self, index: slice) -> Stats: ...
    def __getitem__(self, index: int | slice) -> ProbeResult | Stats:
        if isinstance(index, slice):
            return Stats(self._results[index], self._names)
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[ProbeResult]:
        return iter(self._results)

    def select(
        self, place: str, *, layer: int | None = None, prompt: int = 0, clean: bool = False
    ) -> list[ProbeResult]:
        """Results of one place and prompt, with the layers in the order asked; `layer` left out:
        all that there are."""
        probes = self._names.find(place)
        layer = self._names.layer(place, layer)
        found = [
            result
            for result in self._results
            if result.index in probes
            and result.prompt == prompt
            and result.clean == clean
            and layer in (None, result.layer)
        ]
        what = f"result of {place!r} at layer {layer}, prompt {prompt}, clean {clean}"
        return lookup.by_layer(found, what, self._names.order(place))

    def array(
        self,
        place: str,
        statistic: str | float,
        *,
        layer: int | None = None,
        prompt: int = 0,
        clean: bool = False,
    ) -> npt.NDArray[np.float64]:
        """One statistic by name, or one quantile by its number: [layer, *kept axes], without the
        first axis where there is one layer or `layer` says which."""
        found = self.select(place, layer=layer, prompt=prompt, clean=clean)
        array: npt.NDArray[np.float64] = lookup.stack([_values(one, statistic) for one in found])
        return array

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each number: probe, site, layer, prompt, clean, when, statistic, the model's
        own index for each kept axis, value. Needs pandas."""
        import pandas

        return pandas.DataFrame([row for result in self._results for row in _rows(result)])

    def to_xarray(
        self, place: str, statistic: str | float, *, prompt: int = 0, clean: bool = False
    ) -> xarray.DataArray:
        """One statistic with its axes named, and the model's own indices as coordinates: (layer,
        *kept axes). Needs xarray."""
        import xarray

        found = self.select(place, prompt=prompt, clean=clean)
        array = np.stack([_values(one, statistic) for one in found])
        along = [
            indices.common(one) for one in zip(*(result.indices for result in found), strict=True)
        ]
        coords = {
            "layer": [-1 if one.layer is None else one.layer for one in found],
            **indices.coordinates(found[0].axes, along),
        }
        dims = ("layer", *found[0].axes)
        return xarray.DataArray(array, dims=dims, coords=coords, name=str(statistic))

    def __repr__(self) -> str:
        probes = sorted({result.probe for result in self._results})
        return f"<Stats: {len(self)} results of {', '.join(probes) or 'no probe'}>"

    def _repr_html_(self) -> str:
        return display.stats_html(self)


def _values(result: ProbeResult, statistic: str | float) -> npt.NDArray[np.float64]:
    known: dict[Any, npt.NDArray[np.float64]] = {**result.statistics, **result.quantiles}
    if statistic not in known:
        raise LookupError(f"{result.probe!r} has no {statistic!r}; it has {list(known)}")
    return known[statistic]


def _rows(result: ProbeResult) -> Iterator[dict[str, Any]]:
    about = {
        "probe": result.probe,
        "site": result.site,
        "layer": result.layer,
        "prompt": result.prompt,
        "clean": result.clean,
        "when": result.when,
    }
    for statistic, values in contents.numbers(result).items():
        for index in np.ndindex(values.shape):
            at = indices.at(result.axes, result.indices, index)
            yield {**about, "statistic": statistic, **at, "value": float(values[index])}
    if result.histogram is None:
        return
    edges, counts = result.histogram.edges, result.histogram.counts
    for index in np.ndindex(counts.shape):
        at = indices.at(result.axes, result.indices, index[:-1])
        low, high = edges[index[-1]], edges[index[-1] + 1]
        name = f"count [{low:g}, {high:g}{']' if index[-1] + 2 == len(edges) else ')'}"
        yield {**about, "statistic": name, **at, "value": float(counts[index])}
