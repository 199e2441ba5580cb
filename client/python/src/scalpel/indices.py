"""Which of the model's own indices stand along the axes of an answer: of heads 3 and 7, the two
places of an axis are heads 3 and 7, not 0 and 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from scalpel.errors import ProtocolError
from scalpel.spec import enum_name
from scalpel.v1 import place_pb2, site_pb2

# The indices along one axis, in order; None where an older server, which says none, sent a part.
Along = range | tuple[int, ...] | None

# The field of a selection that selects along each axis.
_FIELDS = {
    "position": "positions",
    "query": "positions",
    "key": "key_positions",
    "head": "heads",
    "unit": "units",
}


def axis_names(axes: Iterable[int]) -> tuple[str, ...]:
    """`("head", "unit")` for AXIS_HEAD and AXIS_UNIT."""
    return tuple(enum_name(site_pb2.Axis, "AXIS_", axis) for axis in axes)


def along_axes(
    said: Sequence[site_pb2.AxisIndices],
    names: Sequence[str],
    shape: Sequence[int],
    where: place_pb2.Selection | None,
) -> tuple[Along, ...]:
    """The indices along each axis. `where`: what was selected, for servers that do not say them: an
    axis of which nothing was selected is whole. None: nothing is known. Raises ProtocolError where
    what is said does not fit the shape."""
    if not said:
        return tuple(_whole(name, size, where) for name, size in zip(names, shape, strict=True))
    found = tuple(map(_along, said))
    if [len(one) for one in found] != list(shape):
        sizes = [len(one) for one in found]
        raise ProtocolError(f"indices of {sizes} places along axes of lengths {list(shape)}")
    return found


def common(several: Iterable[Along]) -> Along:
    """What stands along an axis in each of several arrays; None where they differ."""
    first, *others = several
    return first if all(one == first for one in others) else None


def labels(along: Along, size: int) -> tuple[str, ...]:
    """Indices in words; where they are not known, places in brackets: `[0]`."""
    if along is None:
        return tuple(f"[{place}]" for place in range(size))
    return tuple(map(str, along))


def coordinates(names: Iterable[str], along: Iterable[Along]) -> dict[str, list[int]]:
    """For xarray: those that are known, by the axis's name."""
    return {name: list(one) for name, one in zip(names, along, strict=True) if one is not None}


def at(names: Iterable[str], along: Iterable[Along], place: Iterable[int]) -> dict[str, int | None]:
    """The indices of one element by the axis's name, from its place in the array."""
    return {
        name: None if one is None else one[where]
        for name, one, where in zip(names, along, place, strict=True)
    }


def depth(asked: Sequence[int], understood: Sequence[int]) -> int | None:
    """How many layers a model has, by what became of those asked; None where that does not tell."""
    lowest = min(asked, default=0)
    for layer in understood if lowest < 0 else ():
        length = layer - lowest
        if {one % length for one in asked} == set(understood):
            return length
    everything = list(range(len(understood)))
    # A layer in the site's path is not among those asked; it is one.
    return len(everything) if len(everything) > 1 and list(understood) == everything else None


def _along(said: site_pb2.AxisIndices) -> range | tuple[int, ...]:
    if said.values:
        return tuple(said.values)
    step = said.step or 1
    return range(said.start, said.start + step * said.count, step)


def _whole(name: str, size: int, where: Any) -> Along:
    """All of an axis, if nothing was selected along it. Of heads all may have been written out."""
    field = _FIELDS.get(name)
    if where is None or field is None:
        return None
    whole = range(size)
    if field == "heads":
        return whole if list(where.heads) in ([], list(whole)) else None
    return None if where.HasField(field) else whole
