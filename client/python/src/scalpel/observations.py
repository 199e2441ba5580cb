"""What to look at: statistics (probes), activations (captures), logits and block output tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from scalpel.place import (
    Indices,
    Positions,
    Where,
    index_fields,
    index_list,
    place_fields,
    place_of,
    positions_of,
)
from scalpel.spec import Spec, enum_value, given, written
from scalpel.tensors import dtype_of
from scalpel.v1 import observation_pb2, output_pb2, prompt_pb2, site_pb2, statistic_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

When = Literal["before", "after"]


class Probe(Spec[observation_pb2.Probe]):
    """Statistics asked for at a place: made by `probe`."""


class Capture(Spec[observation_pb2.Capture]):
    """An activation asked for: made by `capture`."""


class Logits(Spec[output_pb2.LogitsRequest]):
    """Which logits come back, and how. `position`: one or more of each prompt, negative from its
    end; left out, the last one."""

    @classmethod
    def top_k(cls, k: int, *, position: Positions | None = None) -> Logits:
        """The k largest, decoded."""
        form = {"top_k": output_pb2.TopK(k=k)}
        call = written("Logits.top_k", k, position=position)
        return cls(
            _logits(position, form),
            call,
            {"top_k": "k", **index_fields("positions", "position", position)},
        )

    @classmethod
    def full(cls, *, position: Positions | None = None, dtype: Any = None) -> Logits:
        """All of them, as an array [position, vocab]. `position=slice(None)`: every position."""
        form = {"full": output_pb2.FullLogits(dtype=_dtype(dtype))}
        call = written("Logits.full", position=position, dtype=dtype)
        return cls(
            _logits(position, form),
            call,
            {"full": "dtype", **index_fields("positions", "position", position)},
        )

    @classmethod
    def of(cls, token_ids: Sequence[int], *, position: Positions | None = None) -> Logits:
        """Those of these tokens, decoded, in this order."""
        form = {"ids": prompt_pb2.TokenIds(ids=index_list(token_ids, "token_ids"))}
        call = written("Logits.of", list(token_ids), position=position)
        fields = {
            "ids": "token_ids",
            "ids.ids": "token_ids",
            **index_fields("positions", "position", position),
        }
        return cls(_logits(position, form), call, fields)

    @classmethod
    def none(cls) -> Logits:
        """None: the head is not computed unless something else reads it."""
        form = {"none": output_pb2.NoLogits()}
        return cls(_logits(None, form), "Logits.none()", {})


class BlockOutputs(Spec[output_pb2.BlockOutputs]):
    """Blocks whose output tuple comes back, and the type of the tensors."""

    def __init__(self, layers: Indices | None = None, *, dtype: Any = None):
        """`layers` left out: all. `dtype` also rounds `output_hidden_states`."""
        message = output_pb2.BlockOutputs(dtype=_dtype(dtype))
        if layers is not None:
            message.layers.extend(index_list(layers, "layers"))
        call = written("BlockOutputs", layers, dtype=dtype)
        fields = {"dtype": "dtype", **index_fields("layers", "layers", layers)}
        super().__init__(message, call, fields)


# What `run` takes for `stats`, `capture`, `logits` and `block_outputs`.
Stats = Probe | Mapping[str, str | Sequence[str]] | Sequence[Probe]
Captures = str | Capture | Sequence[str | Capture]
LogitsLike = Logits | int | Literal["full", "none"]
BlockOutputsLike = BlockOutputs | bool | int | Sequence[int] | range


def probe(
    site: str,
    *statistics: str,
    keep: str | Sequence[str] = (),
    quantiles: Sequence[float] = (),
    histogram: tuple[int, float, float] | None = None,
    when: When | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Probe:
    """Statistics at a place, in every layer and prompt that it selects; streamed layer by layer.

    statistics: of `mean`, `std` and `variance` (unbiased, as torch's), `min`, `max`, `abs_max`,
        `l2_norm`, `mean_l2_norm`, `rms`, `kurtosis`, `zero_fraction`; at `pattern` `entropy`;
        against the clean run `relative_l2` and `cosine`.
    keep: axes of the site to keep (`position`, `head`, `unit`, `query`, `key`): one number for each
        index instead of one in all.
    quantiles: each in [0, 1], interpolated linearly.
    histogram: (bins, min, max).
    when: `before` or `after` (default) the interventions there.
    name: finds the results again; left out, the site does.

    >>> probe("resid_post", "std", "kurtosis")
    >>> probe("pattern", "entropy", keep="head", layer=range(4))
    """
    keep = [keep] if isinstance(keep, str) else list(keep)
    call = written(
        "probe", site, *statistics, keep=keep or None, quantiles=list(quantiles) or None,
        histogram=histogram, when=when, **where, name=name,
    )  # fmt: skip
    message = observation_pb2.Probe(
        place=place_of(site, where),
        moment=_moment(when),
        statistics=[_statistic(statistic) for statistic in statistics],  # type: ignore[misc]
        keep=[enum_value(site_pb2.Axis, "AXIS_", axis, "keep") for axis in keep],  # type: ignore[misc]
        quantiles=quantiles,
        **given(name=name),
    )
    if histogram is not None:
        bins, low, high = histogram
        message.histogram.CopyFrom(observation_pb2.Histogram(bins=bins, min=low, max=high))
    names = ("statistics", "keep", "quantiles", "histogram", "name")
    fields = {**place_fields(where), **{key: key for key in names}, "moment": "when"}
    return Probe(message, call, fields)


def capture(
    site: str,
    *,
    dtype: Any = None,
    when: When | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Capture:
    """An activation to be sent back whole: one array for every layer and prompt selected, in the
    shape of the selected part (the site's axes; proto/README.md has them).

    dtype: rounded to `float32` (default), `float16` or `bfloat16` before it is sent.
    when: `before` or `after` (default) the interventions there.
    name: finds the arrays again; left out, the site does.
    """
    call = written("capture", site, dtype=dtype, when=when, **where, name=name)
    message = observation_pb2.Capture(
        place=place_of(site, where), moment=_moment(when), dtype=_dtype(dtype), **given(name=name)
    )
    fields = {**place_fields(where), "moment": "when", "dtype": "dtype", "name": "name"}
    return Capture(message, call, fields)


def probes_of(stats: Stats) -> list[Probe]:
    """What `run` takes as `stats`, as a list."""
    if isinstance(stats, Probe):
        return [stats]
    if isinstance(stats, Mapping):
        pairs = stats.items()
        return [probe(site, *([s] if isinstance(s, str) else s)) for site, s in pairs]
    for one in stats:
        if not isinstance(one, Probe):
            raise TypeError(f"stats: {one!r} is no probe; write probe('resid_post', 'std')")
    return list(stats)


def captures_of(captures: Captures) -> list[Capture]:
    """What `run` takes as `capture`, as a list."""
    if isinstance(captures, (str, Capture)):
        captures = [captures]
    return [capture(one) if isinstance(one, str) else one for one in captures]


def logits_of(logits: LogitsLike) -> Logits:
    """What `run` takes as `logits`."""
    if isinstance(logits, Logits):
        return logits
    if isinstance(logits, bool):
        raise TypeError("logits: write a number, 'full' or 'none'")
    if isinstance(logits, int):
        return Logits.top_k(logits)
    if logits == "full":
        return Logits.full()
    if logits == "none":
        return Logits.none()
    raise TypeError(f"logits: {logits!r} is neither a number, 'full', 'none' nor Logits")


def block_outputs_of(layers: BlockOutputsLike) -> BlockOutputs | None:
    """What `run` takes as `block_outputs`."""
    if isinstance(layers, BlockOutputs):
        return layers
    if isinstance(layers, bool):
        return BlockOutputs() if layers else None
    outputs = BlockOutputs(layers)
    if not outputs.proto.layers:
        raise ValueError("block_outputs: the list is empty; write True to mean all")
    return outputs


def _logits(position: Positions | None, form: dict[str, Any]) -> output_pb2.LogitsRequest:
    message = output_pb2.LogitsRequest(**form)
    if position is not None:
        message.positions.CopyFrom(positions_of(position, "position"))
    return message


def _statistic(statistic: str) -> int:
    return enum_value(statistic_pb2.Statistic, "STATISTIC_", statistic, "statistics")


def _moment(when: str | None) -> Any:
    return 0 if when is None else enum_value(site_pb2.Moment, "MOMENT_", when, "when")


def _dtype(dtype: Any) -> Any:
    return 0 if dtype is None else dtype_of(dtype)
