"""What a part of a request is in Python: a message, how it was written, and which argument each of
its fields came from. The last two are for errors, which the server says in terms of fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
# Of the text of an argument that is no string.
_SHOWN_MAX = 200


@dataclasses.dataclass(frozen=True, repr=False)
class Spec(Generic[M]):
    """A part of a request. Immutable by convention: use it in as many requests as you like."""

    proto: M
    """The message of the contract."""
    written: str
    """The call that made it, such as `scale('resid_post', 0.1, layer=9)`."""
    fields: Mapping[str, str]
    """Field paths below `proto` and the arguments that they came from; under an empty path, the
    argument for all others where the spec has no name of its own."""

    def __repr__(self) -> str:
        return self.written


def written(function: str, *arguments: Any, **keywords: Any) -> str:
    """A call as Python writes it, without the arguments that are None; arrays by their shape."""
    parts = [_short(argument) for argument in arguments if argument is not None]
    parts += [f"{name}={_short(value)}" for name, value in keywords.items() if value is not None]
    return f"{function}({', '.join(parts)})"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, Sequence):
        if not shape and isinstance(value, (np.generic, np.ndarray)):
            return repr(value.item())
        return f"<array {list(shape)}>"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"<{len(value)} values>"
    if isinstance(value, slice):
        return f"slice({value.start}, {value.stop}, {value.step})"
    shown = repr(value)
    if len(shown) > _SHOWN_MAX and not isinstance(value, str):
        return f"<{type(value).__name__}>"
    return shown


def given(**arguments: Any) -> dict[str, Any]:
    """Those that are not None: what a message's constructor takes for fields that are set."""
    return {name: value for name, value in arguments.items() if value is not None}


def enum_value(enum: Any, prefix: str, value: str | int, argument: str) -> int:
    """An enum's number by its short name in any case: `std` is STATISTIC_STD. Numbers pass."""
    if isinstance(value, int):
        return value
    name = prefix + str(value).upper()
    names = enum.keys()
    if name not in names:
        known = [n[len(prefix) :].lower() for n in names if not n.endswith("UNSPECIFIED")]
        raise ValueError(f"{argument}: {value!r} is not one of {', '.join(known)}")
    return int(enum.Value(name))


def enum_name(enum: Any, prefix: str, number: int) -> str:
    """The short name of an enum's number; a number that this client does not know, in digits."""
    if number not in enum.values():
        return str(number)
    name: str = enum.Name(number)
    return name[len(prefix) :].lower()
