"""The cells of an experiment whose variants the client writes: every combination of the values of
its axes, the last axis the fastest, as of a grid that the server writes out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from scalpel.arguments import Arguments
from scalpel.axes import Axis
from scalpel.events import SweepAxis, SweepEvent, SweepStarted, Tokens, Variant
from scalpel.labels import token_labels
from scalpel.operations import Operation
from scalpel.place import Where
from scalpel.spec import Spec
from scalpel.v1 import sweep_pb2

# The selector that each kind of axis sets.
SELECTORS = {"layers": "layer", "heads": "head", "positions": "position"}


@dataclasses.dataclass(frozen=True)
class CellAxis:
    """An axis, and what it sets."""

    selector: str
    """The selector, such as `layer`."""
    of: tuple[int, ...]
    """The nodes or interventions that it sets, by index; empty: all."""
    shown: SweepAxis
    """As the result has it."""
    argument: str
    """Where it comes from."""

    def sets(self, index: int) -> bool:
        """Whether it sets this one."""
        return not self.of or index in self.of


def cell_axes(
    axes: Sequence[Axis],
    kinds: Sequence[str],
    every: Callable[[str, Axis], Sequence[int]],
    prompts: Sequence[Tokens],
    argument: str = "over",
    prefix: str = "",
) -> list[CellAxis]:
    """The axes with their values. `every(selector, axis)`: the values of an axis that means all of
    them; `argument`: where they come from; `prefix`: of the names of those that have none. Raises
    ValueError for an axis that is not of one of the `kinds`, and for a name that comes twice."""
    made = []
    for axis in axes:
        kind = axis.proto.WhichOneof("over") or ""
        if kind not in kinds:
            raise ValueError(f"{argument}: {axis} is not one of {', '.join(kinds)}")
        selector = SELECTORS[kind]
        values = tuple(getattr(axis.proto, kind).values) or tuple(every(selector, axis))
        if not values:
            raise ValueError(f"{argument}: there is no {selector} for {axis} to go over")
        names = _position_names(values, prompts) if selector == "position" else _texts(values)
        shown = SweepAxis(axis.proto.name or prefix + selector, names, values)
        made.append(CellAxis(selector, tuple(axis.proto.interventions), shown, argument))
    called = [axis.shown.name for axis in made]
    for i, name in enumerate(called):
        if name in called[:i]:
            raise ValueError(f"{argument}[{i}]: a second axis {name!r}; give one of them a name")
    return made


def position_axis(name: str, positions: Sequence[int], prompts: Sequence[Tokens]) -> SweepAxis:
    """An axis of positions, named with their tokens where there is one prompt."""
    return SweepAxis(name, _position_names(positions, prompts), tuple(positions))


def _position_names(positions: Sequence[int], prompts: Sequence[Tokens]) -> tuple[str, ...]:
    names = token_labels(prompts[0])
    if len(prompts) > 1 or not all(-len(names) <= position < len(names) for position in positions):
        return _texts(positions)
    return tuple(names[position] for position in positions)


def _texts(values: Sequence[int]) -> tuple[str, ...]:
    return tuple(map(str, values))


def cells(axes: Sequence[SweepAxis]) -> Iterator[tuple[int, ...]]:
    """The coordinates of every cell."""
    return itertools.product(*(range(len(axis.labels)) for axis in axes))


def placed(
    axes: Sequence[CellAxis], coordinates: Sequence[int], index: int, where: Where, what: str
) -> Where:
    """The selectors of one node or intervention in one cell. Raises ValueError where an axis sets
    one that is given already; `what`: where it is given."""
    made = where.copy()
    for axis, place in zip(axes, coordinates, strict=True):
        if not axis.sets(index):
            continue
        if made.get(axis.selector) is not None:
            raise ValueError(
                f"{axis.argument}: sets a {axis.selector} that {what} has already; give one"
            )
        made[axis.selector] = axis.shown.values[place]  # type: ignore[literal-required]
    return made


def write_variants(
    request: sweep_pb2.SweepRequest,
    arguments: Arguments,
    axes: Sequence[SweepAxis],
    edits: Callable[[tuple[int, ...]], Iterable[tuple[Operation, str, Spec[Any]]]],
) -> list[int]:
    """Writes the variants of a request in the place of those that are there, and returns the cell
    of each. `edits(coordinates)`: operations, and for each the argument that it came from, and
    what says which of its fields came from what; of a cell that is left out, none."""
    del request.variants.variants[:]
    places: list[int] = []
    for cell, coordinates in enumerate(cells(axes)):
        made = list(edits(coordinates))
        if not made:
            continue
        variant, field = request.variants.variants.add(), f"variants.variants[{len(places)}]"
        for i, (operation, argument, spec) in enumerate(made):
            variant.interventions.append(operation.proto)
            arguments.add(f"{field}.interventions[{i}]", argument, spec)
        places.append(cell)
    return places


def as_grid(event: SweepEvent, axes: Sequence[SweepAxis], places: Sequence[int]) -> SweepEvent:
    """An event of a list of variants as one of a grid. `places`: the cell of each variant."""
    if not axes:
        return event
    shape = tuple(len(axis.labels) for axis in axes)
    if isinstance(event, SweepStarted):
        return dataclasses.replace(event, axes=tuple(axes))
    if isinstance(event, Variant):
        index = places[event.index]
        at = tuple(map(int, np.unravel_index(index, shape)))
        return dataclasses.replace(event, index=index, coordinates=at, name="")
    return event
