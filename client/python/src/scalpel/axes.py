"""What varies in a sweep: axes of a grid, each a list of values that a field of the interventions
takes one after the other. The last axis is the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalpel.place import Indices, index_fields, index_list
from scalpel.spec import Spec, given, written
from scalpel.tensors import tensor_of
from scalpel.v1 import place_pb2, sweep_pb2


class Axis(Spec[sweep_pb2.GridAxis]):
    """An axis of a grid: made by the functions of this module."""


# An axis, or one of the words for all layers, heads or positions.
AxisLike = Axis | str


def layers(
    values: Indices | None = None, *, of: Indices | None = None, name: str | None = None
) -> Axis:
    """One layer at a time; `values` left out: every layer. `of`: the interventions that the axis
    sets, by index; left out, all of them."""
    return _indices("layers", values, of, name)


def heads(
    values: Indices | None = None, *, of: Indices | None = None, name: str | None = None
) -> Axis:
    """One head at a time; left out: every head. `of` as in `layers`."""
    return _indices("heads", values, of, name)


def positions(
    values: Indices | None = None, *, of: Indices | None = None, name: str | None = None
) -> Axis:
    """One position at a time, negative from the prompt's own end; left out: every position of the
    prompts, which then have equal length. `of` as in `layers`."""
    return _indices("positions", values, of, name)


def values(numbers: Sequence[float], *, of: Indices | None = None, name: str | None = None) -> Axis:
    """The operation's number: `factor` of scale and project_out, `coefficient` of add, `value` of
    set_, `std` of noise. `of` as in `layers`."""
    call = written("values", numbers, of=of, name=name)
    message = sweep_pb2.AxisValues(values=[float(number) for number in numbers])
    return _axis(call, of, name, {"values": "numbers", "values.values": "numbers"}, values=message)


def directions(vectors: Any, *, of: Indices | None = None, name: str | None = None) -> Axis:
    """The operation's vector, `value` of add or `direction` of project_out: each row of an array
    [n, units]. `of` as in `layers`."""
    call = written("directions", vectors, of=of, name=name)
    message = tensor_of(vectors, "vectors")
    return _axis(call, of, name, {"directions": "vectors"}, directions=message)


_WORDS = {"layers": layers, "heads": heads, "positions": positions}


def axes_of(over: AxisLike | Sequence[AxisLike]) -> list[Axis]:
    """What `sweep` takes as `over`, as a list."""
    several = [over] if isinstance(over, (Axis, str)) else list(over)
    made = []
    for axis in several:
        if isinstance(axis, str):
            word = axis if axis.endswith("s") else axis + "s"
            if word not in _WORDS:
                raise ValueError(f"over: {axis!r} is not one of {', '.join(_WORDS)}")
            axis = _WORDS[word]()
        made.append(axis)
    return made


def _indices(kind: str, indices: Indices | None, of: Indices | None, name: str | None) -> Axis:
    call = written(kind, indices, of=of, name=name)
    message = place_pb2.Indices()
    if indices is not None:
        message.values.extend(index_list(indices, "values"))
        if not message.values:  # On the wire that would mean all of them.
            raise ValueError(f"{kind}: the list is empty; leave it out to mean all")
    fields = {kind: "values", **index_fields(f"{kind}.values", "values", indices)}
    return _axis(call, of, name, fields, **{kind: message})


def _axis(
    call: str, of: Indices | None, name: str | None, fields: dict[str, str], **over: Any
) -> Axis:
    interventions = None if of is None else index_list(of, "of")
    message = sweep_pb2.GridAxis(**over, **given(name=name, interventions=interventions))
    return Axis(
        message, call, {**fields, "name": "name", **index_fields("interventions", "of", of)}
    )
