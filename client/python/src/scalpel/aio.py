"""The client for asyncio: the same methods as `scalpel.Model`, to be awaited.

>>> async with scalpel.aio.connect("localhost:50051") as model:
...     runs = await asyncio.gather(*(model.run(prompt) for prompt in prompts))
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from scalpel import calls, connection
from scalpel.caller import Caller
from scalpel.calls import Question, StreamCall, UnaryCall
from scalpel.connection import Attempts, Settings
from scalpel.errors import ScalpelError
from scalpel.info import ModelInfo
from scalpel.methods import Methods
from scalpel.streams import AsyncStream
from scalpel.worlds import Awaited

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from scalpel.connection import Options

__all__ = ["AsyncModel", "AsyncStream", "Connecting", "connect"]

Event = TypeVar("Event")
Result = TypeVar("Result")


@connection.shows_options
def connect(address: str = "127.0.0.1:50051", **options: Unpack[Options]) -> Connecting:
    """Connects to a server: `async with scalpel.aio.connect(...) as model`, or `model = await
    scalpel.aio.connect(...)` and `await model.close()`. Arguments and errors as of
    `scalpel.connect`."""
    return Connecting(connection.settings(address, **options))


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


class AsyncModel(Methods, Caller, Awaited):
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

    async def close(self) -> None:
        """Closes the connection; calls that are running are cancelled. Those of other event loops
        end when they are no longer used."""
        self._closed = True
        own = self._connections.get(asyncio.get_running_loop())
        self._connections.clear()
        if own is not None:
            await own.close()

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
        return call.result(events)

    async def _consider(self, questions: Iterable[Question]) -> None:
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
                return call.result(response)
            await asyncio.sleep(attempts.pause(failure))
