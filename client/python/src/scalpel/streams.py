"""The events of a call as they come, for threads and for event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from scalpel.caller import Caller
from scalpel.calls import StreamCall
from scalpel.reading import Reading
from scalpel.worlds import Blocking

Event = TypeVar("Event")


class Stream(Blocking, Generic[Event]):
    """The events of one call, in order, as they come. Iterate over it in one thread. Leaving its
    `with` block, or `close` from any thread, cancels what is left of the call.

    Raises a `ScalpelError` where the call fails; the events that came before are valid.
    """

    def __init__(self, model: Caller, call: StreamCall[Event, Any]):
        self._model, self._call = model, call
        self._reading = Reading(model.settings, call)
        self._rpc: Any = None
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        reading = self._reading
        while not reading.pending:
            if reading.over:
                raise StopIteration
            try:
                self._step()
            except BaseException:
                self._leave()
                raise
        return reading.pending.popleft()

    def _step(self) -> None:
        """Waits for one response; an attempt that failed before its first one is made again."""
        if self._rpc is None:
            self._model._consider(self._reading.unasked())
            self._rpc = self._model.start(self._call, self._reading.attempts.left())
        if self._closed.is_set():
            self._rpc.cancel()
        try:
            response = next(self._rpc, None)
        except grpc.RpcError as error:
            failure = error
        else:
            self._reading.take(response)
            return
        self._closed.wait(self._reading.pause(failure))
        self._rpc = None

    def close(self) -> None:
        """Cancels the call if it is still running: its reader gets `Cancelled`. Thread-safe."""
        self._closed.set()
        if self._rpc is not None:
            self._rpc.cancel()

    def _leave(self) -> None:
        self.close()
        self._reading.end()

    def __del__(self) -> None:
        if getattr(self, "_rpc", None) is not None:
            self._rpc.cancel()


class AsyncStream(Generic[Event]):
    """The events of one call, in order, as they come: `async for`. Leaving its `async with` block,
    `close`, and the cancellation of its task cancel what is left of the call."""

    def __init__(self, model: Caller, call: StreamCall[Event, Any]):
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
