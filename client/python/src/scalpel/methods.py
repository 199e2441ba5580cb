"""The methods of the clients, each said once: the function of `scalpel.calls` that it is made of,
and what is done with the call. A client of either world inherits the table, and gets functions of
its own, with the parameters and the docstring of that function.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from scalpel import calls, edges, generation, patching, paths, plans
from scalpel.calls import StreamCall, UnaryCall
from scalpel.events import Started, SweepStarted
from scalpel.generation_events import GenerationStarted
from scalpel.plans import Plan
from scalpel.streams import AsyncStream, Stream
from scalpel.worlds import Awaited, Blocking

P = ParamSpec("P")
Now = TypeVar("Now")
Later = TypeVar("Later")
Event = TypeVar("Event")
Result = TypeVar("Result")

_STREAM = "`{0}`, as events while the model computes: see `scalpel.{1}`. Arguments as of `{0}`."
_VALIDATE = "Checks the arguments of `{0}`, and says what it would cost: `.cost`. Nothing runs."


class Method(Generic[P, Now, Later]):
    """An entry of the table: a method that gives `Now` in threads, and `Later` in event loops."""

    def __init__(
        self,
        build: Callable[P, Any],
        act: Callable[[Any, Any], Any],
        returns: tuple[str, str],
        doc: str | None,
        awaited: bool = True,
    ):
        """`act(client, build(...))` is the answer. `returns`: what the two worlds give, in words;
        `awaited`: whether event loops await it."""
        self._build, self._act, self._awaited = build, act, awaited
        self._returns, self._doc = returns, doc

    @overload
    def __get__(self, owner: Blocking, kind: Any = None) -> Callable[P, Now]: ...
    @overload
    def __get__(self, owner: Awaited, kind: Any = None) -> Callable[P, Later]: ...
    @overload
    def __get__(self, owner: None, kind: type[Blocking]) -> Callable[Concatenate[Any, P], Now]: ...
    @overload
    def __get__(self, owner: None, kind: type[Awaited]) -> Callable[Concatenate[Any, P], Later]: ...
    @overload
    def __get__(self, owner: None, kind: Any) -> Method[P, Now, Later]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        """For type checkers: where a client is asked, `function` has taken the entry's place."""
        return self

    def function(self, kind: type, name: str) -> Callable[..., Any]:
        """The method of a client's class. A bound method is pickled by its name."""
        build, act = self._build, self._act

        def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return act(self, build(*args, **kwargs))

        async def awaited_method(self: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return await act(self, build(*args, **kwargs))

        is_async = issubclass(kind, Awaited)
        made: Any = awaited_method if is_async and self._awaited else method
        signature = inspect.signature(build)
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        made.__signature__ = signature.replace(
            parameters=[own, *signature.parameters.values()],
            return_annotation=self._returns[is_async],
        )
        made.__doc__ = self._doc or build.__doc__
        made.__name__, made.__qualname__ = name, f"{kind.__qualname__}.{name}"
        made.__module__ = build.__module__
        return made  # type: ignore[no-any-return]


def _answers(build: Callable[..., Any]) -> tuple[str, str]:
    """Event and result of a function's `StreamCall[Event, Result]` or `UnaryCall[Result]`, as it is
    written in the source."""
    inner = str(inspect.signature(build).return_annotation).partition("[")[2]
    of_call = inner.removesuffix("]").split(", ")
    return of_call[0], of_call[-1]


def _whole(
    build: Callable[P, StreamCall[Any, Result]],
) -> Method[P, Result, Awaitable[Result]]:
    """Reads a stream to its end, and returns the result."""
    _, result = _answers(build)
    return Method(build, lambda client, call: client.read(call), (result, result), None)


def _unary(build: Callable[P, UnaryCall[Result]]) -> Method[P, Result, Awaitable[Result]]:
    """Returns the one answer."""
    _, result = _answers(build)
    return Method(build, lambda client, call: client.ask(call), (result, result), None)


def _stream(
    build: Callable[P, StreamCall[Event, Any]], events: str = "events"
) -> Method[P, Stream[Event], AsyncStream[Event]]:
    """Returns the stream, which is not awaited itself. `events`: the module that has them."""
    event, _ = _answers(build)
    returns = f"Stream[{event}]", f"AsyncStream[{event}]"

    def begin(client: Any, call: StreamCall[Any, Any]) -> Any:
        kind = AsyncStream if isinstance(client, Awaited) else Stream
        return kind(client, call)

    doc = _STREAM.format(build.__name__, events)
    return Method(build, begin, returns, doc, awaited=False)


def _validation(
    build: Callable[P, StreamCall[Any, Any]], kind: type[Result]
) -> Method[P, Result, Awaitable[Result]]:
    """Has a request checked, and returns the one event, of this kind."""

    def check(client: Any, call: StreamCall[Any, Any]) -> Any:
        return client.read(calls.validation(call, kind))

    doc = _VALIDATE.format(build.__name__)
    return Method(build, check, (kind.__name__, kind.__name__), doc)


def _planned(build: Callable[P, Plan[Result]]) -> Method[P, Result, Awaitable[Result]]:
    """Makes the calls of a plan, and returns its result."""
    _, result = _answers(build)
    return Method(build, lambda client, plan: _steps(client, plan.run), (result, result), None)


def _planned_validation(
    build: Callable[P, Plan[Any]],
) -> Method[P, SweepStarted, Awaitable[SweepStarted]]:
    """Has the sweep of a plan checked."""
    kind, doc = SweepStarted.__name__, _VALIDATE.format(build.__name__)
    return Method(build, lambda client, plan: _steps(client, plan.check), (kind, kind), doc)


def _steps(client: Any, steps: Callable[[Any], Any]) -> Any:
    make = plans.read_awaited if isinstance(client, Awaited) else plans.read
    return make(client, steps(client.info))


class SweepMethods:
    """Of each client that can sweep."""

    sweep = _whole(calls.sweep)
    patch = _whole(patching.patch)
    path_patch = _planned(paths.path_patch)
    knock_out_edges = _planned(edges.knock_out_edges)
    sweep_request = _whole(calls.sweep_request)

    def __init_subclass__(cls) -> None:
        """Puts functions in the place of the table's entries, in a class of either world."""
        super().__init_subclass__()
        if not issubclass(cls, (Blocking, Awaited)):
            return
        for name in dir(cls):
            entry = inspect.getattr_static(cls, name)
            if isinstance(entry, Method):
                setattr(cls, name, entry.function(cls, name))


class Methods(SweepMethods):
    """Of each client of one server."""

    run = _whole(calls.run)
    sweep = SweepMethods.sweep
    patch = SweepMethods.patch
    path_patch = SweepMethods.path_patch
    knock_out_edges = SweepMethods.knock_out_edges
    run_request = _whole(calls.run_request)
    sweep_request = SweepMethods.sweep_request

    generate = _whole(generation.generate)
    generate_request = _whole(generation.generate_request)

    stream = _stream(calls.run)
    stream_sweep = _stream(calls.sweep)
    stream_request = _stream(calls.run_request)
    stream_sweep_request = _stream(calls.sweep_request)
    stream_generate = _stream(generation.generate, "generation_events")
    stream_generate_request = _stream(generation.generate_request, "generation_events")

    validate = _validation(calls.run, Started)
    validate_sweep = _validation(calls.sweep, SweepStarted)
    validate_path_patch = _planned_validation(paths.path_patch)
    validate_knock_out_edges = _planned_validation(edges.knock_out_edges)
    validate_generate = _validation(generation.generate, GenerationStarted)

    get_info = _unary(calls.get_info)
    status = _unary(calls.status)
    tokenize = _unary(calls.tokenize)
    detokenize = _unary(calls.detokenize)
    detokenize_bytes = _unary(calls.detokenize_bytes)
    token_id = _unary(calls.token_id)
