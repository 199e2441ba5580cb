"""Where in the forward pass: a site by any of its names, and the part of it that is meant.

Selectors are keyword arguments of everything that has a place. They intersect; one that is left
out selects all. The server checks them: this module only writes them down.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

import numpy as np

from scalpel.v1 import place_pb2, prompt_pb2

if TYPE_CHECKING:
    import numpy.typing as npt

# One index, several, a slice, or a mask of booleans.
Indices = Union[int, Sequence[int], range, slice, "npt.NDArray[Any]"]


class tokens:  # Reads as a function: position=tokens(464).
    """Positions by what they hold: every position with one of these token ids. It can stand
    wherever positions are asked for.

    >>> zero("resid_post", position=tokens(model.token_id(" Mary")))
    """

    def __init__(self, *ids: int):
        self.ids = tuple(operator.index(i) for i in ids)

    def __repr__(self) -> str:
        return f"tokens({', '.join(map(str, self.ids))})"


# Where in a prompt: indices, or the tokens that are there.
Positions = Indices | tokens

# Steps of a generation: those of a word, one, or several that follow one another.
Steps = Literal["prompt", "generated"] | int | range | slice


class Where(TypedDict, total=False):
    """Selectors: which part of a site. Indices count from 0, and negative ones from the end.

    An index is an int, a list, a range, a slice or a numpy array (of ints, or a mask of booleans).
    The order of a list is the order of what comes back, and of the entries of an array that is
    added or set.
    """

    layer: Indices
    """Blocks. Both ends of a slice count from the same side: `slice(0, 4)`, `slice(-2, None)`."""
    head: Indices
    """Attention heads, at sites with heads. A slice as of `layer`."""
    unit: Indices
    """Columns, neurons or vocabulary ids: the innermost axis. Negative from its end."""
    position: Positions
    """Token positions; at `pattern` and `attn_scores` the query. Negative from each prompt's
    end."""
    query: Positions
    """The same as `position`, where that reads better: at `pattern` and `attn_scores`."""
    key: Positions
    """Positions attended to, at `pattern` and `attn_scores`. Negative from each prompt's end."""
    prompt: Indices
    """Prompts of the request. A slice as of `layer`."""
    steps: Steps
    """Only in `generate`. `"prompt"` is step 0, the pass over the prompt; `"generated"` are all
    later ones, each of which reads one generated token. Or a step, a range or a slice, from 0."""


# The field of Selection that each selector writes.
_FIELDS = {
    "layer": "layers",
    "head": "heads",
    "unit": "units",
    "position": "positions",
    "query": "positions",
    "key": "key_positions",
    "prompt": "prompts",
    "steps": "steps",
}

# The steps that a word means.
_STEPS = {"prompt": slice(None, 1), "generated": slice(1, None)}


def index_list(indices: Indices, argument: str) -> list[int]:
    """Plain ints. How long the axis is, only the server knows."""
    if isinstance(indices, slice):
        return _slice_list(indices, argument)
    if isinstance(indices, np.ndarray) and indices.dtype == np.bool_:
        return [int(i) for i in np.flatnonzero(indices)]
    if isinstance(indices, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{argument}: {indices!r} is no index")
    try:
        return [operator.index(indices)]  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        return [_index(i) for i in indices]  # type: ignore[union-attr]
    except TypeError:
        raise TypeError(f"{argument}: {indices!r} is not an index nor a list of them") from None


def _slice_list(indices: slice, argument: str) -> list[int]:
    """A slice whose ends count from the same side."""
    step = 1 if indices.step is None else operator.index(indices.step)
    start, stop = indices.start or 0, indices.stop
    if stop is None and start < 0 < step:
        stop = 0
    elif stop is None or (start < 0) != (stop < 0):
        raise TypeError(f"{argument}: this slice needs the axis's length; write a range")
    return list(range(start, stop, step))


def _index(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError
    return operator.index(value)


def is_one(indices: Positions) -> bool:
    """Whether a single index was given, not a list."""
    return not isinstance(indices, (slice, np.ndarray)) and hasattr(indices, "__index__")


def range_of(indices: slice) -> place_pb2.Range:
    """A slice as the contract's half-open range; an end that is left out stays left out."""
    return place_pb2.Range(start=indices.start, end=indices.stop, step=indices.step)


def steps_of(steps: Steps) -> place_pb2.Range:
    """Steps of a generation. What counts from the end, or is a list, the contract has no form for:
    it is refused here."""
    if isinstance(steps, str):
        if steps not in _STEPS:
            raise ValueError(f"steps: {steps!r} is neither 'prompt' nor 'generated'")
        return range_of(_STEPS[steps])
    several = steps
    if not isinstance(steps, (range, slice)):
        if isinstance(steps, (bool, np.bool_)) or not hasattr(steps, "__index__"):
            kinds = "'prompt', 'generated', a step, a range or a slice"
            raise TypeError(f"steps: {steps!r} is none of {kinds}")
        first = operator.index(steps)
        several = slice(first, first + 1)
    assert isinstance(several, (range, slice))
    start, stop, stride = several.start or 0, several.stop, several.step or 1
    if start < 0 or stride < 1 or (stop is not None and stop < 0):
        raise ValueError(f"steps: {steps!r} does not count forward from 0, which is the prompt")
    if stop is not None and stop <= start:
        raise ValueError(f"steps: {steps!r} is empty; leave `steps` out to mean all")
    return place_pb2.Range(start=several.start, end=stop, step=several.step)


def positions_of(positions: Positions, argument: str) -> place_pb2.Positions:
    """Token positions."""
    if isinstance(positions, tokens):
        return place_pb2.Positions(tokens=prompt_pb2.TokenIds(ids=positions.ids))
    if isinstance(positions, slice):
        return place_pb2.Positions(range=range_of(positions))
    values = index_list(positions, argument)
    return place_pb2.Positions(indices=place_pb2.Indices(values=values))


def units_of(indices: Indices, argument: str) -> place_pb2.Units:
    """Columns, neurons or vocabulary ids."""
    if isinstance(indices, slice):
        return place_pb2.Units(range=range_of(indices))
    values = index_list(indices, argument)
    return place_pb2.Units(indices=place_pb2.Indices(values=values))


def selection_of(where: Where) -> place_pb2.Selection:
    """The selectors as a message."""
    selection = place_pb2.Selection()
    given: dict[str, str] = {}
    for name, value in where.items():
        field = _FIELDS.get(name)
        if field is None:
            near = next((one for one in _FIELDS if name + "s" == one or name == one + "s"), None)
            hint = f"; write `{near}`" if near else f"; selectors are {', '.join(_FIELDS)}"
            raise TypeError(f"there is no selector `{name}`{hint}")
        if value is None:
            continue
        if field in given:
            raise TypeError(f"`{name}` and `{given[field]}` say the same; give one of them")
        given[field] = name
        _select(selection, field, name, value)
    return selection


def _select(selection: place_pb2.Selection, field: str, name: str, value: Any) -> None:
    if field in ("layers", "heads", "prompts"):
        if isinstance(value, slice) and value == slice(None):
            return  # All, which is what is left out.
        values = index_list(value, name)
        if not values:  # On the wire that would mean all of them.
            raise ValueError(f"{name}: the list is empty; leave `{name}` out to mean all")
        getattr(selection, field).extend(values)
    elif field == "steps":
        if value != slice(None):
            selection.steps.CopyFrom(steps_of(value))
    elif field == "units":
        selection.units.CopyFrom(units_of(value, name))
    else:
        getattr(selection, field).CopyFrom(positions_of(value, name))


def place_of(site: str, where: Where) -> place_pb2.Place:
    """A place. The site goes as it was written: the server knows every library's names."""
    if not isinstance(site, str):
        raise TypeError(f"site: {site!r} is not a name such as 'resid_post'")
    place = place_pb2.Place(path=site)
    selection = selection_of(where)
    if selection.ListFields():
        place.where.CopyFrom(selection)
    return place


def place_fields(where: Where) -> dict[str, str]:
    """Which argument each field of a `Place` came from."""
    fields = {"place": "site", "place.path": "site", "place.site": "site"}
    fields["place.where.steps"] = "steps"  # Also where they are left out, and must not be.
    for name, value in where.items():
        fields.update(index_fields(f"place.where.{_FIELDS[name]}", name, value))
    return fields


def index_fields(field: str, argument: str, value: Any) -> dict[str, str]:
    """The same for one argument that is an index or several; the only index has none itself."""
    if value is None:
        return {}
    fields = {field: argument}
    if is_one(value):
        fields.update({f"{field}{element}": argument for element in ("[0]", ".indices.values[0]")})
    return fields
