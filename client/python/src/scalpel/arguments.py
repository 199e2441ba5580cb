"""From the fields of a request back to the Python arguments that they came from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from scalpel.spec import Spec

# Where a path may be cut: before a dot or an index.
_CUTS = re.compile(r"(?=[.\[])")


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a call."""

    path: str
    """As Python says it, such as `interventions[0].layer`."""
    written: str
    """The part of the request that it is in, such as `zero('k', layer=12)`; else empty."""


class Arguments:
    """Collects which argument each field of one request came from, and finds it again."""

    def __init__(self) -> None:
        self._arguments: dict[str, tuple[str, Spec[Any] | None]] = {}

    def add(self, field: str, argument: str, spec: Spec[Any] | None = None) -> None:
        """`field`, and what is below it, came from `argument`; empty where the fields of `spec` are
        the call's own arguments."""
        self._arguments[field] = (argument, spec)

    def add_list(self, field: str, argument: str, specs: Sequence[Spec[Any]], one: bool) -> None:
        """A list; `one` if the argument was a single thing instead."""
        self.add(field, argument)
        for i, spec in enumerate(specs):
            self.add(f"{field}[{i}]", argument if one else f"{argument}[{i}]", spec)

    def add_prompts(self, field: str, argument: str, count: int, one: bool) -> None:
        """Prompts; `one` if the argument was a single prompt instead."""
        self.add(field, argument)
        for i in range(count):
            for path in ("", ".text", ".token_ids", ".token_ids.ids"):
                self.add(f"{field}[{i}]{path}", argument if one else f"{argument}[{i}]")

    def find(self, field: str) -> Argument:
        """The argument. A field that nothing is known of is its own name."""
        prefix, rest = _longest(field, self._arguments)
        if prefix is None:
            return Argument(field, "")
        argument, spec = self._arguments[prefix]
        if spec is None:
            return Argument(argument + rest, "")
        inner, rest = _longest(rest.lstrip("."), spec.fields)
        if inner is None:
            return Argument(argument or spec.fields.get("", argument), spec.written)
        # What is below an argument is its element, or of no interest to who wrote it.
        index = re.match(r"(?:\.indices|\.tokens|\.values|\.ids)*((?:\[\d+\])*)", rest)
        assert index is not None
        path = ".".join(filter(None, (argument, spec.fields[inner])))
        return Argument(path + index[1], spec.written)


def _longest(field: str, known: Any) -> tuple[str | None, str]:
    """The longest known beginning of a path, and the rest."""
    cuts = [match.start() for match in _CUTS.finditer(field)] + [len(field)]
    for cut in reversed(cuts):
        if field[:cut] in known:
            return field[:cut], field[cut:]
    return None, field
