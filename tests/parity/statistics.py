"""The statistics of the contract, in numpy and double precision."""

import math

import numpy as np

from tests.parity import places
from tests.parity.answer import ACTIVATION_TOLERANCE, Answer, Item, statistic_name
from tests.support.client import observation_pb2, site_pb2

# Of statistics, relative to what they measure.
TOLERANCE = 1e-5
# Far on its negative side GELU is a difference of nearly equal numbers: 0 in one implementation,
# 1e-7 in another.
GELU_NOISE = 1e-6


def measure(
    probe: observation_pb2.Probe,
    site: int,
    region: list[np.ndarray],
    part: np.ndarray,
    clean: np.ndarray | None,
    scale: float,
    name: str,
) -> Answer:
    """What the probe sees in one row at one layer; `part` is the selected part, `clean` that of the
    clean run, `scale` the largest absolute value of the whole."""
    with np.errstate(all="ignore"):
        samples = _Samples(
            probe,
            site,
            region,
            part.astype(np.float64),
            None if clean is None else clean.astype(np.float64),
            scale,
        )
        answer: Answer = {}
        for statistic in probe.statistics:
            value = samples.compute(statistic).reshape(samples.kept_shape)
            item = _item(site, value, samples.scale_of(statistic, value))
            item.allowed = item.allowed * samples.conditioning(statistic) + samples.slack(statistic)
            answer[f"{name} {statistic_name(statistic)}"] = item
        for q in probe.quantiles:
            value = np.array([np.quantile(row, q) for row in samples.rows]).reshape(
                samples.kept_shape
            )
            answer[f"{name} quantile={q:g}"] = _item(site, value, samples.scale)
        if probe.HasField("histogram"):
            answer |= samples.histogram(probe.histogram, name)
    return answer


def _item(site: int, value: np.ndarray, scale: float, tolerance: float = TOLERANCE) -> Item:
    return Item(value, places.site_name(site), "statistics", scale, tolerance * scale)


def _variance(x: np.ndarray) -> np.ndarray:
    if x.shape[1] == 1:
        return np.full(len(x), math.nan)
    return x.var(1, ddof=1)


class _Samples:
    """The selected values as [kept, reduced] rows; the innermost axis runs fastest among the
    reduced ones."""

    def __init__(self, probe, site, region, part, clean, scale):
        self.site = site
        axes = list(places.facts(site).axes)
        self.order = [i for i, axis in enumerate(axes) if axis in probe.keep] + [
            i for i, axis in enumerate(axes) if axis not in probe.keep
        ]
        self.kept_shape = [len(region[i]) for i, axis in enumerate(axes) if axis in probe.keep]
        self.inner = part.shape[-1]
        if (
            site == site_pb2.SITE_ATTN_SCORES
        ):  # only key <= query counts; at most the heads are kept
            mask = places.causal(region)
            self.rows = part[:, mask].reshape(part.shape[0] if probe.keep else 1, -1)
            self.clean = None if clean is None else clean[:, mask].reshape(self.rows.shape)
        else:
            self.rows = self._rows(part)
            self.clean = None if clean is None else self._rows(clean)
        finite = np.abs(self.rows[np.isfinite(self.rows)])
        self.scale = max(scale, float(finite.max(initial=0))) or 1.0

    def _rows(self, part: np.ndarray) -> np.ndarray:
        return part.transpose(self.order).reshape(int(np.prod(self.kept_shape)), -1)

    def compute(self, statistic: int) -> np.ndarray:
        x = self.rows
        match statistic_name(statistic):
            case "mean":
                return x.mean(1)
            case "std":
                return np.sqrt(_variance(x))
            case "variance":
                return _variance(x)
            case "min":
                return x.min(1)
            case "max":
                return x.max(1)
            case "abs_max":
                return np.abs(x).max(1)
            case "l2_norm":
                return np.linalg.norm(x, axis=1)
            case "mean_l2_norm":
                return np.linalg.norm(x.reshape(len(x), -1, self.inner), axis=2).mean(1)
            case "rms":
                return np.sqrt((x * x).mean(1))
            case "kurtosis":
                centred = x - x.mean(1, keepdims=True)
                return (centred**4).mean(1) / (centred**2).mean(1) ** 2
            case "zero_fraction":
                return (x == 0).mean(1)
            case "entropy":
                terms = np.where(x == 0, 0, -x * np.log(np.where(x == 0, 1, x)))
                return terms.reshape(len(x), -1, self.inner).sum(2).mean(1)
            case "relative_l2":
                return np.linalg.norm(x - self.clean, axis=1) / np.linalg.norm(self.clean, axis=1)
            case "cosine":
                return (x * self.clean).sum(1) / (
                    np.linalg.norm(x, axis=1) * np.linalg.norm(self.clean, axis=1)
                )
        raise ValueError(f"no such statistic: {statistic}")

    def scale_of(self, statistic: int, value: np.ndarray) -> float:
        """What the statistic's error is measured by: its own size, unless cancellation can make it
        small."""
        finite = float(np.abs(value[np.isfinite(value)]).max(initial=0))
        match statistic_name(statistic):
            case "mean" | "std" | "min" | "max" | "abs_max" | "rms":
                return self.scale
            case "variance":
                return self.scale**2
            case "kurtosis":  # an outlier's error counts four times in the fourth power
                return 4 * max(finite, 1.0)
            case "zero_fraction" | "cosine":
                return 1.0
            case "entropy" | "relative_l2":
                return max(finite, 1.0)
            case _:
                return finite or 1.0

    def conditioning(self, statistic: int) -> np.ndarray | float:
        """How much more the quotients err than their parts, each of which errs by its place's
        scale: where a kept row is small beside the others, its quotient is known less well."""

        def share(rows: np.ndarray) -> np.ndarray:
            spread = np.sqrt(np.maximum((rows * rows).sum(1) / rows.shape[1], 1e-300))
            return np.clip(self.scale / spread, 1.0, 1e4).reshape(self.kept_shape)

        match statistic_name(statistic):
            case "kurtosis":
                return share(self.rows - self.rows.mean(1, keepdims=True))
            case "relative_l2":
                return share(self.clean)
            case "cosine":
                return share(self.rows) + share(self.clean)
        return 1.0

    def slack(self, statistic: int) -> np.ndarray | float:
        """What rounding does beyond that where a kept row is nothing but noise, its root mean
        square within the error that each element may have: its quotients mean nothing (a lone
        logit's cosine is its sign). MLP_POST has noise of its own around 0, where an element may or
        may not be exactly 0."""
        mlp_post = self.site == site_pb2.SITE_MLP_POST
        floor = ACTIVATION_TOLERANCE * self.scale
        noise = max(floor, GELU_NOISE) if mlp_post else floor

        def only_noise(rows: np.ndarray) -> np.ndarray:
            return np.sqrt((rows * rows).mean(1)) <= noise

        match statistic_name(statistic):
            case "zero_fraction" if mlp_post:
                slack = (np.abs(self.rows) <= GELU_NOISE).mean(1)
            case "kurtosis" if mlp_post:
                centred = self.rows - self.rows.mean(1, keepdims=True)
                slack = np.where(np.sqrt((centred * centred).mean(1)) <= GELU_NOISE, math.inf, 0.0)
            case "relative_l2":
                slack = np.where(only_noise(self.clean), math.inf, 0.0)
            case "cosine":
                slack = np.where(only_noise(self.rows) | only_noise(self.clean), math.inf, 0.0)
            case _:
                return 0.0
        return slack.reshape(self.kept_shape)

    def histogram(self, bins: observation_pb2.Histogram, name: str) -> Answer:
        """Counts; an element so near an edge that rounding may carry it over is allowed to be
        counted on either side."""
        edges = np.linspace(bins.min, bins.max, bins.bins + 1)
        inside = [row[(row >= bins.min) & (row <= bins.max)] for row in self.rows]
        counts = np.array([np.histogram(row, edges)[0] for row in inside])
        near = np.abs(self.rows[:, :, None] - edges) <= ACTIVATION_TOLERANCE * self.scale
        slack = np.count_nonzero(near, axis=1)
        site = places.site_name(self.site)

        def item(value, allowed):
            return Item(value, site, "counts", 1.0, allowed)

        return {
            f"{name} counts": item(
                counts.reshape([*self.kept_shape, -1]),
                (slack[:, :-1] + slack[:, 1:]).reshape([*self.kept_shape, -1]),
            ),
            f"{name} below": item(
                (self.rows < bins.min).sum(1).reshape(self.kept_shape),
                slack[:, 0].reshape(self.kept_shape),
            ),
            f"{name} above": item(
                (self.rows > bins.max).sum(1).reshape(self.kept_shape),
                slack[:, -1].reshape(self.kept_shape),
            ),
        }
