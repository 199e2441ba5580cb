"""What both clients do to begin a call: they differ only in the channel, and in how they wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scalpel import connection
from scalpel.affinity import affinity
from scalpel.calls import Question, StreamCall, UnaryCall
from scalpel.connection import Settings


class Caller:
    """A channel of `grpc` or of `grpc.aio`, and the settings of its calls."""

    settings: Settings

    def _channel(self) -> Any:
        """The channel for the call that is about to begin."""
        raise NotImplementedError

    def _consider(self, questions: Iterable[Question]) -> Any:
        """Asks what is to be known before a call of `scalpel.calls`. Raises or warns as the answers
        say. An event loop awaits it."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings alone are pickled; what is unpickled has a connection of its own."""
        return type(self), (self.settings,)

    def start(self, call: StreamCall[Any, Any], timeout: float | None) -> Any:
        """Begins an attempt at a call: gRPC's own object, of responses that can be cancelled."""
        method = self._method(self._channel().unary_stream, call)
        together = call.affinity or affinity(call.request)
        return method(
            self.settings.addressed(call.request),
            timeout=timeout,
            metadata=self.settings.call_metadata(call.request_id, together),
        )

    def _method(self, kind: Any, call: StreamCall[Any, Any] | UnaryCall[Any]) -> Any:
        return kind(
            connection.SERVICE + call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=connection.RESPONSES[call.method].FromString,
        )
