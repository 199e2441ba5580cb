"""What to do at a place: one function for each operation of the contract.

Each takes a site by any of its names (`resid_post`, `blocks.9.hook_resid_post`,
`transformer.h.9:output`; the lexicon is in proto/README.md), what the operation needs, and the
selectors of `scalpel.Where` as keywords. `name` comes back in the report. Nothing is computed and
nothing checked here; an operation may be used in any number of requests, from any thread.

Interventions that meet at one place and layer apply in the order given. Arrays are broadcast to the
selected part by numpy's rules (aligned at the last axis). At `attn_scores` and `pattern` only
entries with key <= query change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Union

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
from scalpel.tensors import tensor_of
from scalpel.v1 import intervention_pb2

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Unpack

# A number, or numbers to be broadcast: a numpy array, torch tensor or nested list.
Value = Union[float, Sequence[Any], "npt.NDArray[Any]"]


@dataclasses.dataclass(frozen=True, repr=False)
class Operation(Spec[intervention_pb2.Intervention]):
    """An intervention: made by `zero`, `scale`, `patch` and the other functions of this module."""

    from_source: int | None = None
    """Of `patch`: the source of the sweep that is read."""


def _operation(
    call: str, site: str, where: Where, name: str | None, fields: dict[str, str], **message: Any
) -> Operation:
    """`message` is the operation's field of the oneof, and its content."""
    ((field, content),) = message.items()
    proto = intervention_pb2.Intervention(place=place_of(site, where), **given(name=name))
    getattr(proto, field).CopyFrom(content)
    return Operation(proto, call, {**place_fields(where), "name": "name", **_below(field, fields)})


def _below(field: str, fields: dict[str, str]) -> dict[str, str]:
    return {f"{field}.{path}": argument for path, argument in fields.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0


def zero(site: str, *, name: str | None = None, **where: Unpack[Where]) -> Operation:
    """Sets the selected part to 0 (zero ablation).

    A head whose `k` or `q` is zeroed attends uniformly; it is `z` or `v` that turns a head off.
    """
    call = written("zero", site, **where, name=name)
    return _operation(call, site, where, name, {}, zero=intervention_pb2.Zero())


def scale(
    site: str, factor: float | None = None, *, name: str | None = None, **where: Unpack[Where]
) -> Operation:
    """Multiplies by `factor`. Left out where an axis of a sweep sets it."""
    call = written("scale", site, factor, **where, name=name)
    fields = {"factor": "factor"}
    message = intervention_pb2.Scale(**given(factor=factor))
    return _operation(call, site, where, name, fields, scale=message)


def add(
    site: str,
    value: Value | None = None,
    *,
    coefficient: float | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Adds `coefficient` (default 1) times `value`: a number, or a steering vector [d_model].

    `value` or `coefficient` is left out where an axis of a sweep sets it. Activation addition:
    Turner et al. 2023.
    """
    call = written("add", site, value, coefficient=coefficient, **where, name=name)
    message = intervention_pb2.Add(**_value(value), **given(coefficient=coefficient))
    fields = {"constant": "value", "tensor": "value", "coefficient": "coefficient"}
    return _operation(call, site, where, name, fields, add=message)


def set_(
    site: str, value: Value | None = None, *, name: str | None = None, **where: Unpack[Where]
) -> Operation:
    """Replaces by `value`: a number or an array. Left out where an axis of a sweep sets it."""
    call = written("set_", site, value, **where, name=name)
    fields = {"constant": "value", "tensor": "value"}
    return _operation(call, site, where, name, fields, set=intervention_pb2.Set(**_value(value)))


def _value(value: Value | None) -> dict[str, Any]:
    if value is None:
        return {}
    if _is_number(value):
        return {"constant": float(value)}  # type: ignore[arg-type]
    return {"tensor": tensor_of(value, "value")}


def noise(
    site: str,
    std: float | None = None,
    *,
    mean: float | None = None,
    mode: Literal["replace", "add"] = "replace",
    seed: int | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Gaussian noise of standard deviation `std` (default 1) around `mean` (default 0), in place of
    the values or, with `mode="add"`, on top of them.

    Counted by coordinates (Philox; Salmon et al. 2011): the same seed gives the same noise whatever
    else is in the request. `seed` left out: the request's.
    """
    call = written("noise", site, std, mean=mean, mode=mode, seed=seed, **where, name=name)
    number = enum_value(intervention_pb2.NoiseMode, "NOISE_MODE_", mode, "mode")
    numbers = given(std=std, mean=mean, seed=seed)
    message = intervention_pb2.Noise(mode=number, **numbers)  # type: ignore[arg-type]
    fields = {key: key for key in ("std", "mean", "mode", "seed")}
    return _operation(call, site, where, name, fields, noise=message)


def clamp(
    site: str,
    min: float | None = None,
    max: float | None = None,
    *,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Limits to [min, max]; one of the bounds may be left out."""
    call = written("clamp", site, min=min, max=max, **where, name=name)
    message = intervention_pb2.Clamp(**given(min=min, max=max))
    fields = {"min": "min", "max": "max"}
    return _operation(call, site, where, name, fields, clamp=message)


def mean(
    site: str,
    *,
    over: Positions | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Replaces by the mean over positions of the same prompt (mean ablation; Wang et al. 2022).

    `over`: the positions averaged, default all. Not at `attn_scores`.
    """
    call = written("mean", site, over=over, **where, name=name)
    message = intervention_pb2.Mean()
    if over is not None:
        message.over.CopyFrom(positions_of(over, "over"))
    fields = index_fields("over", "over", over)
    return _operation(call, site, where, name, fields, mean=message)


def patch(
    site: str,
    *,
    from_prompt: int | None = None,
    from_clean: int | None = None,
    from_source: int | None = None,
    from_position: Positions | None = None,
    from_key: Positions | None = None,
    from_head: Indices | None = None,
    from_layer: int | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Replaces by the values of the same site in another run (activation patching: Vig et al. 2020,
    Meng et al. 2022; interchange intervention: Geiger et al. 2021).

    The run is one of `from_prompt` (another prompt of the request, with whatever was done to it so
    far), `from_clean` (the clean run of the prompt with this index) and, in a sweep, `from_source`
    (a source by index). What the selectors say is looked up again there: `position=-1` is the last
    of either prompt, `position=tokens(...)` where the token stands in each. `from_position`,
    `from_key`, `from_head` and `from_layer` (at most the written one) say otherwise. The first that
    is read goes to the first that is written, in the order of the lists, and both must be as many.
    """
    call = written(
        "patch", site, from_prompt=from_prompt, from_clean=from_clean, from_source=from_source,
        from_position=from_position, from_key=from_key, from_head=from_head,
        from_layer=from_layer, **where, name=name,
    )  # fmt: skip
    runs = given(from_prompt=from_prompt, from_clean=from_clean, from_source=from_source)
    if len(runs) > 1:
        raise TypeError(f"{' and '.join(runs)}: give one of them")
    message = _patch(from_prompt, from_clean, from_position, from_key, from_head, from_layer)
    fields = _patch_fields(from_position, from_key, from_head)
    if from_source is not None:
        fields["clean_prompt"] = "from_source"
    operation = _operation(call, site, where, name, fields, patch=message)
    return dataclasses.replace(operation, from_source=from_source)


def _patch(
    prompt: int | None,
    clean: int | None,
    position: Positions | None,
    key: Positions | None,
    head: Indices | None,
    layer: int | None,
) -> intervention_pb2.Patch:
    message = intervention_pb2.Patch(**given(prompt=prompt, clean_prompt=clean, layer=layer))
    if position is not None:
        message.positions.CopyFrom(positions_of(position, "from_position"))
    if key is not None:
        message.key_positions.CopyFrom(positions_of(key, "from_key"))
    if head is not None:
        message.heads.extend(index_list(head, "from_head"))
        if not message.heads:  # On the wire that would mean those that are written.
            raise ValueError("from_head: the list is empty; leave it out to read the written heads")
    return message


def _patch_fields(
    position: Positions | None, key: Positions | None, head: Indices | None
) -> dict[str, str]:
    return {
        "prompt": "from_prompt",
        "clean_prompt": "from_clean",
        "layer": "from_layer",
        # Also where they are left out: the server says what does not match of what is read.
        "positions": "from_position",
        "key_positions": "from_key",
        "heads": "from_head",
        **index_fields("positions", "from_position", position),
        **index_fields("key_positions", "from_key", key),
        **index_fields("heads", "from_head", head),
    }


def project_out(
    site: str,
    direction: Value | None = None,
    *,
    factor: float | None = None,
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Removes the component along `direction`, a vector as long as the selected units; with
    `factor` it is multiplied by that instead. The direction's length does not matter.

    One of them is left out where an axis of a sweep sets it. Not at `attn_scores`, `pattern`.
    Directional ablation: Arditi et al. 2024.
    """
    call = written("project_out", site, direction, factor=factor, **where, name=name)
    message = intervention_pb2.ProjectOut(**given(factor=factor))
    if direction is not None:
        message.direction.CopyFrom(tensor_of(direction, "direction"))
    fields = {"direction": "direction", "factor": "factor"}
    return _operation(call, site, where, name, fields, project_out=message)


def knockout(
    pairs: Sequence[tuple[int, int]] = (),
    *,
    site: str = "attn_scores",
    name: str | None = None,
    **where: Unpack[Where],
) -> Operation:
    """Keeps queries from attending to keys: the other weights of a query's row renormalise
    (attention knockout; Geva et al. 2023). Zeroing `pattern` would not renormalise.

    `pairs`: (query, key) positions; left out: every pair of the selectors `query` and `key` with
    key <= query.

    >>> knockout([(-1, 1)])                     # The last position cannot see the second.
    >>> knockout(query=-1, key=[1, 9], layer=range(6), head=3)
    """
    other_site = None if site == "attn_scores" else site
    call = written("knockout", list(pairs) or None, site=other_site, **where, name=name)
    messages = [intervention_pb2.QueryKey(query=query, key=key) for query, key in pairs]
    fields = {"pairs": "pairs"}
    message = intervention_pb2.Knockout(pairs=messages)
    return _operation(call, site, where, name, fields, knockout=message)
