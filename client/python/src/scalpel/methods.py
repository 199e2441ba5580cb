"""From a function that builds a call to a method that makes it: same arguments, same docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

STREAM = "`{0}`, as events while the model computes: see `scalpel.events`. Arguments as of `{0}`."
VALIDATE = "Checks the arguments of `{0}`, and says what it would cost: `.cost`. Nothing runs."


def as_method(
    build: Callable[..., Any],
    method: Callable[..., Any],
    returns: str = "{result}",
    doc: str | None = None,
) -> Any:
    """Gives `method` the name, parameters and docstring (or `doc`) of `build`. `returns`: what it
    gives, with `{event}` and `{result}` of the call that is built."""
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    # Of `StreamCall[Event, Result]` or `UnaryCall[Result]`, as it is written in the source.
    of_call = str(signature.return_annotation).partition("[")[2].removesuffix("]").split(", ")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()],
        return_annotation=returns.format(event=of_call[0], result=of_call[-1]),
    )
    method.__doc__ = doc or build.__doc__
    method.__name__, method.__module__ = build.__name__, build.__module__
    return method


def named(kind: type[T]) -> type[T]:
    """Gives each method of a class the name that it has there: a bound method is pickled by it, and
    two methods may be made of the same function."""
    for name, value in vars(kind).items():
        if inspect.isfunction(value):
            value.__name__, value.__qualname__ = name, f"{kind.__qualname__}.{name}"
    return kind
