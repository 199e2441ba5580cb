"""What the axes and colour bars of figures say: indices, tokens, units, scales, and the value where
nothing changes. For `scalpel.plots` and `scalpel.report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scalpel import indices
from scalpel.indices import Along
from scalpel.token_text import quoted
from scalpel.v1 import sweep_pb2

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.events import Tokens
    from scalpel.run_result import RunResult
    from scalpel.sweep_result import SweepResult
    from scalpel.tensors import Tensor

# The unit of each kind of metric; logarithms are natural.
METRIC_UNITS = {
    "logits": "logit",
    "log_probs": "log-probability, nats",
    "probabilities": "probability",
    "ranks": "rank, 0 is the top",
    "logit_diff": "logit difference",
    "kl_from_clean": "KL divergence, nats",
    "top1_agreement": "same top token",
    "loss": "loss, nats a token",
    "patching_score": "patching score",
}

# Kinds with a value beyond which nothing goes.
ONE_SIDED = ("kl_from_clean", "ranks", "top1_agreement")

# Of what a metric is when nothing changes, where that does not depend on the prompt.
_UNCHANGED = {"kl_from_clean": 0.0, "top1_agreement": 1.0, "patching_score": 0.0}

# Of the others the name says enough; they are in the activations' own unit.
_STATISTICS = {
    "entropy": "entropy of {} (nats)",
    "relative_l2": "relative L2 distance of {} from clean",
    "cosine": "cosine of {} with clean",
    "zero_fraction": "share of zeros in {}",
    "kurtosis": "kurtosis of {} (3 if normal)",
    "l2_norm": "L2 norm of {}",
    "mean_l2_norm": "mean L2 norm of {}",
    "abs_max": "largest absolute value of {}",
}


def token_labels(prompt: Tokens) -> tuple[str, ...]:
    """Positions with their tokens, such as `1 " Mary"`; with the id of a token that has no text:
    `1 <856>`."""
    texts = prompt.tokens or [""] * len(prompt)
    pairs = enumerate(zip(texts, prompt.ids, strict=True))
    return tuple(f"{i} {quoted(text, token_id)}" for i, (text, token_id) in pairs)


def statistic_label(statistic: str | float, place: str) -> str:
    """Such as `std of resid_post`, with the unit where it is not the activations' own."""
    if isinstance(statistic, float):
        return f"{statistic:g}-quantile of {place}"
    return _STATISTICS.get(statistic, f"{statistic} of {{}}").format(place)


def metric_kind(sweep: SweepResult, metric: str | None) -> str:
    """The field of `Metric.kind`, such as `logit_diff`."""
    return str(message(sweep, metric).WhichOneof("kind"))


def metric_label(sweep: SweepResult, metric: str | None) -> str:
    """Such as `Mary over John (logit difference)`."""
    unit, title = METRIC_UNITS.get(metric_kind(sweep, metric)), metric_title(sweep, metric)
    return title if unit in (None, title) else f"{title} ({unit})"


def metric_title(sweep: SweepResult, metric: str | None) -> str:
    """Its name, or its unit where the name was not given by a person and says no more than that."""
    found, kind = message(sweep, metric), metric_kind(sweep, metric)
    unnamed = found.name == "score" or found.name.startswith(f"{kind}[")
    return METRIC_UNITS.get(kind, found.name) if unnamed else found.name


def metric_tokens(sweep: SweepResult, metric: str | None) -> tuple[str, ...]:
    """The tokens of a metric with a number for each, as they were asked."""
    index = sweep.metrics.index(message(sweep, metric).name)
    asked = getattr(sweep.request.metrics[index], metric_kind(sweep, metric))
    return (*(f"<{i}>" for i in asked.ids), *(f'"{text}"' for text in asked.texts))


def unchanged(sweep: SweepResult, metric: str | None, prompt: int) -> float | None:
    """The value of a variant that changes nothing: that of the clean run, or what a comparison with
    the clean run then comes to. None for a metric of several numbers."""
    kind = metric_kind(sweep, metric)
    if kind == "patching_score" and getattr(sweep, "direction", "") == "noising":
        return 1.0
    if kind in _UNCHANGED:
        return _UNCHANGED[kind]
    clean = sweep.clean(message(sweep, metric).name, prompt=prompt)
    return clean if isinstance(clean, float) else None


def message(sweep: SweepResult, metric: str | None) -> sweep_pb2.Metric:
    """A metric as the server understood it; left out, the only one, or a patching's score."""
    if metric is None:
        metric = "score" if hasattr(sweep, "direction") else sweep.metrics[0]
        if metric != "score" and len(sweep.metrics) > 1:
            raise LookupError(f"say which metric; there is: {list(sweep.metrics)}")
    if metric not in sweep.metrics:
        raise LookupError(f"there is no metric {metric!r}; there is: {list(sweep.metrics)}")
    return sweep.normalized.metrics[sweep.metrics.index(metric)]


def tensor_labels(run: RunResult, tensor: Tensor) -> list[tuple[str, ...]]:
    """For each axis of a tensor, what its indices are, in the order of the array. Positions carry
    their tokens."""
    prompt = run.prompts[tensor.prompts[0]]
    return [
        axis_labels(axis, size, along, prompt)
        for axis, size, along in zip(tensor.axes, tensor.shape, tensor.indices, strict=True)
    ]


def axis_labels(axis: str, size: int, along: Along, prompt: Tokens) -> tuple[str, ...]:
    """What the indices along one axis are; in brackets where only their places are known."""
    if along is not None and axis in ("position", "query", "key"):
        names = token_labels(prompt)
        return tuple(names[i] for i in along)
    return indices.labels(along, size)


def dose_scale(doses: npt.NDArray[np.float64]) -> str:
    """`log` where the doses span two decades, `symlog` where they also hold 0 or negative ones,
    else `linear`."""
    sizes = np.abs(doses[doses != 0])
    if not len(sizes) or sizes.max() < 100 * sizes.min():
        return "linear"
    return "log" if doses.min() > 0 else "symlog"
