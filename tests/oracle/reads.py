"""What is read of a tensor: parts, statistics, quantiles, histograms, logits; each number with the
error that it may have when every element that it comes from is off by up to `error`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracle.selection import past
from tests.oracle.sites import Refused, Site

# Beyond this share of its value a quotient says nothing: what divides is little but rounding.
_MEANINGLESS = 0.05


@dataclasses.dataclass
class Item:
    """Numbers of an answer. `error`: by how much they may be off (inf: they mean nothing);
    `scale`: what errors are measured by in reports."""

    value: np.ndarray
    error: np.ndarray | float
    site: str
    scale: float = 1.0
    # What the axes of `value` must be labelled with: their names, and the indices along them.
    axes: list[tuple[str, list[int]]] | None = None
    rounded: bool = False  # Sent in a shorter type.


def rounding(dtype: str, value: np.ndarray) -> np.ndarray | float:
    """What sending in a shorter type may add: half a unit in the last place, twice over."""
    if dtype == "float32":
        return 0.0
    relative, least = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 0.0)}[dtype]
    return np.where(np.isfinite(value), np.abs(value) * relative + least, 0)


def check(probe: dict, site: Site) -> None:
    """Refuses statistics that have no meaning at the site."""
    keep = probe.get("keep", [])
    if len(set(keep)) < len(keep):
        raise Refused(f"{keep} has one twice")
    if not set(keep) <= set(site.axes):
        raise Refused(f"{site.name} has not all of the axes {keep}")
    if site.name == "attn_scores" and set(keep) - {"head"}:
        raise Refused("scores are not a full rectangle")
    if "entropy" in probe.get("statistics", []) and (site.name != "pattern" or "key" in keep):
        raise Refused("entropy is of a query's weights over keys")
    has_vectors = site.name != "attn_scores" and site.axes[-1] not in keep
    if "mean_l2_norm" in probe.get("statistics", []) and not has_vectors:
        raise Refused("norms are of vectors along the innermost axis")
    if any(not 0 <= quantile <= 1 for quantile in probe.get("quantiles", [])):
        raise Refused("a quantile is within 0 and 1")


@dataclasses.dataclass
class Cells:
    """The selected elements, sorted by the kept axes: `x` is [cell, element]; `vectors` is
    [cell, vector, element of the innermost axis], if that is not kept. `shape`: of the kept axes.
    `clean`: as x, of the clean run."""

    x: np.ndarray
    vectors: np.ndarray | None
    shape: tuple[int, ...]
    clean: np.ndarray | None
    error: float

    @property
    def count(self) -> int:
        return self.x.shape[1]

    @property
    def rows(self) -> np.ndarray:
        """`vectors`, of a statistic that has them."""
        assert self.vectors is not None
        return self.vectors

    @property
    def unedited(self) -> np.ndarray:
        """`clean`, of a statistic that compares with it."""
        assert self.clean is not None
        return self.clean


def cells(
    probe: dict,
    site: Site,
    part: list[list[int]],
    block: np.ndarray,
    clean: np.ndarray | None,
    error: float,
) -> Cells:
    kept = [i for i, axis in enumerate(site.axes) if axis in probe.get("keep", [])]
    shape = tuple(block.shape[i] for i in kept)
    number = int(np.prod(shape))

    def arrange(values: np.ndarray) -> np.ndarray:
        if site.name == "attn_scores":
            values = values[:, past(part)]  # [head, pair]
            return values if kept else values.reshape(1, -1)
        return np.moveaxis(values, kept, range(len(kept))).reshape(number, -1)

    x = arrange(block)
    vectors = None
    if site.name != "attn_scores" and len(site.axes) - 1 not in kept:
        vectors = x.reshape(number, -1, block.shape[-1])
    return Cells(x, vectors, shape, None if clean is None else arrange(clean), error)


Numbers = tuple[np.ndarray, np.ndarray | float]


def statistic(name: str, seen: Cells) -> Numbers:
    """The value for each cell, and its error."""
    with np.errstate(all="ignore"):
        value, error = _STATISTICS[name](seen)
        error = np.broadcast_to(error, value.shape).astype(float)
        # Of minus infinity only what needs no difference is compared.
        finite = np.isfinite(seen.x).all(axis=1)
        if name not in ("min", "max", "abs_max", "zero_fraction", "mean", "l2_norm", "rms"):
            error = np.where(finite, error, np.inf)
    return value.reshape(seen.shape), error.reshape(seen.shape)


def _mean(seen: Cells) -> Numbers:
    return seen.x.mean(axis=1), seen.error


def _variance(seen: Cells) -> Numbers:
    variance = np.full(len(seen.x), np.nan)
    if seen.count > 1:
        variance = seen.x.var(axis=1, ddof=1)
    error = seen.error * np.sqrt(seen.count / max(seen.count - 1, 1))
    return variance, error * (2 * np.sqrt(variance) + error)


def _std(seen: Cells) -> Numbers:
    return np.sqrt(_variance(seen)[0]), seen.error * np.sqrt(seen.count / max(seen.count - 1, 1))


def _l2_norm(seen: Cells) -> Numbers:
    return np.sqrt((seen.x**2).sum(axis=1)), seen.error * np.sqrt(seen.count)


def _mean_l2_norm(seen: Cells) -> Numbers:
    norms = np.sqrt((seen.rows**2).sum(axis=2))
    return norms.mean(axis=1), seen.error * np.sqrt(seen.rows.shape[2])


def _kurtosis(seen: Cells) -> Numbers:
    """Moves with each element by at most its derivative, about 4 (|z|^3 + kurtosis |z|) / std."""
    std = seen.x.std(axis=1)
    z = (seen.x - seen.x.mean(axis=1, keepdims=True)) / std[:, None]
    kurtosis = (z**4).mean(axis=1)
    slope = (np.abs(z) ** 3).mean(axis=1) + kurtosis
    relative = seen.error / std
    return kurtosis, np.where(relative < _MEANINGLESS, 8 * slope * relative, np.inf)


def _zero_fraction(seen: Cells) -> Numbers:
    """What is so small that float32 may have lost it counts either way."""
    nearly = (seen.x != 0) & (np.abs(seen.x) < 1e-3 * seen.error)
    return (seen.x == 0).mean(axis=1), nearly.mean(axis=1) + 1e-12


def _entropy(seen: Cells) -> Numbers:
    p = seen.rows
    logs = np.log(np.maximum(p, 1e-300))
    entropy = -(p * logs).sum(axis=2).mean(axis=1)
    slope = np.abs(np.log(np.maximum(p, seen.error))) + 1
    error = np.where(p == 0, 0, slope * seen.error).sum(axis=2).mean(axis=1)
    return entropy, np.where((p < 0).any(axis=(1, 2)), np.inf, error)


def _relative_l2(seen: Cells) -> Numbers:
    norm = np.linalg.norm(seen.unedited, axis=1)
    value = np.linalg.norm(seen.x - seen.unedited, axis=1) / norm
    relative = seen.error * np.sqrt(seen.count) / norm
    return value, np.where(relative < _MEANINGLESS, 2 * relative * (1 + value), np.inf)


def _cosine(seen: Cells) -> Numbers:
    norms = np.linalg.norm(seen.unedited, axis=1), np.linalg.norm(seen.x, axis=1)
    value = (seen.x * seen.unedited).sum(axis=1) / (norms[0] * norms[1])
    relative = seen.error * np.sqrt(seen.count) * (1 / norms[0] + 1 / norms[1])
    return value, np.where(relative < _MEANINGLESS, 2 * relative, np.inf)


_STATISTICS: dict[str, Callable[[Cells], Numbers]] = {
    "mean": _mean,
    "std": _std,
    "variance": _variance,
    "min": lambda seen: (seen.x.min(axis=1), seen.error),
    "max": lambda seen: (seen.x.max(axis=1), seen.error),
    "abs_max": lambda seen: (np.abs(seen.x).max(axis=1), seen.error),
    "l2_norm": _l2_norm,
    "mean_l2_norm": _mean_l2_norm,
    "rms": lambda seen: (np.sqrt((seen.x**2).mean(axis=1)), seen.error),
    "kurtosis": _kurtosis,
    "zero_fraction": _zero_fraction,
    "entropy": _entropy,
    "relative_l2": _relative_l2,
    "cosine": _cosine,
}
STATISTICS = tuple(_STATISTICS)
AGAINST_CLEAN = ("relative_l2", "cosine")


def quantile(q: float, seen: Cells) -> Numbers:
    """Between the two nearest order statistics, linearly (Hyndman and Fan's type 7)."""
    finite = np.isfinite(seen.x).all(axis=1)
    with np.errstate(all="ignore"):
        value = np.quantile(seen.x, q, axis=1)
    error = np.where(finite, seen.error, np.inf)
    return value.reshape(seen.shape), error.reshape(seen.shape)


def histogram(asked: dict, seen: Cells) -> tuple[np.ndarray, np.ndarray]:
    """For each edge of the bins, [*shape, bins + 1]: at least, and at most, how many elements lie
    below it. The last edge itself belongs to the last bin."""
    edges = np.linspace(asked["min"], asked["max"], asked["bins"] + 1)
    x = seen.x[:, :, None]
    shape = (*seen.shape, len(edges))
    least = (x < edges - seen.error).sum(axis=1)
    most = (x < edges + seen.error).sum(axis=1)
    return least.reshape(shape), most.reshape(shape)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def probe(
    asked: dict,
    site: Site,
    part: list[list[int]],
    block: np.ndarray,
    clean: np.ndarray | None,
    error: float,
    scale: float,
) -> dict[Any, Any]:
    """All that a probe asks for, by statistic, by quantile, and `histogram`; and `axes`."""
    seen = cells(asked, site, part, block, clean, error)
    found: dict[Any, Any] = {}
    for name in asked.get("statistics", []):
        found[name] = Item(*statistic(name, seen), site.name, scale)
    for q in asked.get("quantiles", []):
        found[q] = Item(*quantile(q, seen), site.name, scale)
    if "histogram" in asked:
        found["histogram"] = histogram(asked["histogram"], seen)
    found["axes"] = [
        (axis, indices)
        for axis, indices in zip(site.axes, part, strict=True)
        if axis in asked.get("keep", [])
    ]
    return found
