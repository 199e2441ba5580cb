"""The client for asyncio: the same methods as `scalpel.Model`, to be awaited.

>>> async with scalpel.aio.connect("localhost:50051") as model:
...     runs = await asyncio.gather(*(model.run(prompt) for prompt in prompts))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import grpc
import grpc.aio

from scalpel import calls, connection, methods, patching
from scalpel.caller import Caller
from scalpel.calls import Question, StreamCall, UnaryCall
from scalpel.connection import TLS, Attempts, Keepalive, Retry, Settings, Token
from scalpel.errors import ScalpelError
from scalpel.events import Started, SweepStarted
from scalpel.info import ModelInfo
from scalpel.reading import Reading

P = ParamSpec("P")
Event = TypeVar("Event")
Result = TypeVar("Result")


def connect(
    address: str = "127.0.0.1:50051",
    *,
    model: str | None = None,
    tls: bool | TLS = False,
    token: Token | None = None,
    allow_plaintext_token: bool = False,
    timeout: float | None = 600.0,
    retry: Retry | None = Retry(),
    keepalive: Keepalive | None = Keepalive(),
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Connecting:
    """Connects to a server: `async with scalpel.aio.connect(...) as model`, or `model = await
    scalpel.aio.connect(...)` and `await model.close()`. Arguments and errors as of
    `scalpel.connect`."""
    return Connecting(
        connection.settings(
            address, model=model, tls=tls, token=token,
            allow_plaintext_token=allow_plaintext_token, timeout=timeout, retry=retry,
            keepalive=keepalive, metadata=metadata, options=options,
        )
    )  # fmt: skip


class Connecting:
    """What `connect` returns: awaited, or entered with `async with`, it is an `AsyncModel`."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._model: AsyncModel | None = None

    def __await__(self) -> Generator[Any, None, AsyncModel]:
        return self._connect().__await__()

    async def _connect(self) -> AsyncModel:
        model = AsyncModel(self._settings)
        try:
            model.info = await model.get_info()
        except BaseException:
            await model.close()
            raise
        return model

    async def __aenter__(self) -> AsyncModel:
        self._model = await self._connect()
        return self._model

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._model is not None:
            await self._model.close()


class AsyncStream(Generic[Event]):
    """The events of one call, in order, as they come: `async for`. Leaving its `async with` block,
    `close`, and the cancellation of its task cancel what is left of the call."""

    def __init__(self, model: AsyncModel, call: StreamCall[Event, Any]):
        self._model, self._call = model, call
        self._reading = Reading(model.settings, call)
        self._rpc: Any = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        reading = self._reading
        while not reading.pending:
            if reading.over:
                raise StopAsyncIteration
            try:
                await self._step()
            except BaseException:
                self.close()
                raise
        return reading.pending.popleft()

    async def _step(self) -> None:
        """Waits for one response; an attempt that failed before its first one is made again."""
        if self._rpc is None:
            await self._model._consider(self._reading.unasked())
            self._rpc = self._model.start(self._call, self._reading.attempts.left())
        try:
            response = await self._rpc.read()
        except grpc.RpcError as error:
            failure = error
        else:
            self._reading.take(None if response is grpc.aio.EOF else response)
            return
        await asyncio.sleep(self._reading.pause(failure))
        self._rpc = None

    def close(self) -> None:
        """Cancels the call, if it is still running."""
        if self._rpc is not None:
            self._rpc.cancel()
        self._reading.end()

    async def __aenter__(self) -> AsyncStream[Event]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _whole(
    build: Callable[P, StreamCall[Any, Result]],
) -> Callable[Concatenate[AsyncModel, P], Awaitable[Result]]:
    """A method that reads a stream to its end and returns the result."""

    async def method(self: AsyncModel, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self.read(build(*args, **kwargs))

    return methods.as_method(build, method)  # type: ignore[no-any-return]


def _stream(
    build: Callable[P, StreamCall[Event, Any]],
) -> Callable[Concatenate[AsyncModel, P], AsyncStream[Event]]:
    """A method that returns the stream; it is not awaited itself."""

    def method(self: AsyncModel, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[Event]:
        return AsyncStream(self, build(*args, **kwargs))

    doc = methods.STREAM.format(build.__name__)
    return methods.as_method(build, method, "AsyncStream[{event}]", doc)  # type: ignore[no-any-return]


def _validation(
    build: Callable[P, StreamCall[Any, Any]], kind: type[Result]
) -> Callable[Concatenate[AsyncModel, P], Awaitable[Result]]:
    """A method that has a request checked, and returns the one event, of this kind."""

    async def method(self: AsyncModel, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self.read(calls.validation(build(*args, **kwargs), kind))

    doc = methods.VALIDATE.format(build.__name__)
    return methods.as_method(build, method, kind.__name__, doc)  # type: ignore[no-any-return]


def _unary(
    build: Callable[P, UnaryCall[Result]],
) -> Callable[Concatenate[AsyncModel, P], Awaitable[Result]]:
    """A method with one answer."""

    async def method(self: AsyncModel, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self.ask(build(*args, **kwargs))

    return methods.as_method(build, method)  # type: ignore[no-any-return]


@methods.named
class AsyncModel(Caller):
    """A served model: made by `connect`. Any number of calls at once. Each event loop that uses it,
    such as that of each `asyncio.run`, has a connection of its own. It is pickled as `Model` is."""

    info: ModelInfo
    """The served model, as it was when connected."""

    def __init__(self, settings: Settings):
        self.settings = settings
        # gRPC binds a channel to the loop that it is made in.
        self._connections: dict[asyncio.AbstractEventLoop, grpc.aio.Channel] = {}
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.settings,), {"info": self.info}

    def _channel(self) -> grpc.aio.Channel:
        if self._closed:
            raise RuntimeError("this model is closed; connect again")
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            # A loop that has ended cannot close its channel any more.
            for ended in [one for one in list(self._connections) if one.is_closed()]:
                self._connections.pop(ended, None)
            self._connections[loop] = self._connect()
        return self._connections[loop]

    def _connect(self) -> grpc.aio.Channel:
        settings = self.settings
        options = settings.channel_options()
        if settings.tls is None:
            return grpc.aio.insecure_channel(settings.address, options)
        credentials = settings.tls.credentials()
        return grpc.aio.secure_channel(settings.address, credentials, options)

    run = _whole(calls.run)
    sweep = _whole(calls.sweep)
    patch = _whole(patching.patch)
    run_request = _whole(calls.run_request)
    sweep_request = _whole(calls.sweep_request)

    stream = _stream(calls.run)
    stream_sweep = _stream(calls.sweep)
    stream_request = _stream(calls.run_request)
    stream_sweep_request = _stream(calls.sweep_request)

    validate = _validation(calls.run, Started)
    validate_sweep = _validation(calls.sweep, SweepStarted)

    get_info = _unary(calls.get_info)
    status = _unary(calls.status)
    tokenize = _unary(calls.tokenize)
    detokenize = _unary(calls.detokenize)
    detokenize_bytes = _unary(calls.detokenize_bytes)
    token_id = _unary(calls.token_id)

    async def close(self) -> None:
        """Closes the connection; calls that are running are cancelled. Those of other event loops
        end when they are no longer used."""
        self._closed = True
        own = self._connections.get(asyncio.get_running_loop())
        self._connections.clear()
        if own is not None:
            await own.close()

    async def __aenter__(self) -> AsyncModel:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncModel {self.info.name} at {self.settings.address}>"

    async def read(self, call: StreamCall[Event, Result]) -> Result:
        """Makes a call of `scalpel.calls`, reads its stream to the end, and returns the result."""
        events: list[Event] = []
        try:
            async with AsyncStream(self, call) as stream:
                async for event in stream:
                    events.append(event)
        except ScalpelError as error:
            error.partial = call.partial(events)
            raise
        return call.collect(events)

    async def _consider(self, questions: Iterable[Question]) -> None:
        """Asks what is to be known before a call of `scalpel.calls`. Raises or warns as the answers
        say."""
        for question in questions:
            try:
                prompts = (await self.read(question.call(None))).prompts
            except calls.SAID_BY_THE_CALL:
                continue
            question.consider(prompts)

    async def ask(self, call: UnaryCall[Result]) -> Result:
        """Makes a call of `scalpel.calls` that has one answer."""
        attempts = Attempts(self.settings, call.timeout, call.arguments)
        method = self._method(self._channel().unary_unary, call)
        while True:
            try:
                response = await method(
                    self.settings.addressed(call.request),
                    timeout=attempts.left(),
                    metadata=self.settings.call_metadata(None),
                )
            except grpc.RpcError as error:
                failure = error
            else:
                return call.convert(response)
            await asyncio.sleep(attempts.pause(failure))
