"""From a function that builds a call to a method that makes it: same arguments, same docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

STREAM = "`{0}`, as events while the model computes: see `scalpel.events`. Arguments as of `{0}`."
VALIDATE = "Checks the arguments of `{0}`, and says what it would cost: `.cost`. Nothing runs."


def as_method(build: Callable[..., Any], method: Callable[..., Any], doc: str | None = None) -> Any:
    """Gives `method` the name, signature and docstring of `build`; `doc` instead, if given."""
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [own, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    method.__doc__ = doc or build.__doc__
    method.__name__, method.__module__ = build.__name__, build.__module__
    return method
