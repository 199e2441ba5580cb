"""The client for threads: `connect`, `Model` and `Stream`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import grpc

from scalpel import calls, connection, methods, patching
from scalpel.caller import Caller
from scalpel.calls import Question, StreamCall, UnaryCall
from scalpel.connection import TLS, Attempts, Keepalive, Retry, Settings, Token
from scalpel.errors import ScalpelError
from scalpel.events import Started, SweepStarted
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
) -> Model:
    """Connects to a server.

    >>> with scalpel.connect("localhost:50051") as model:
    ...     model.run("The capital of France is", zero("z", layer=9, head=3))

    address: host:port, or any target that gRPC knows (`unix:/path`, `dns:///host:port`).
    model: the model's name, for servers that hold more than one.
    tls: True to encrypt with the system's certificates, or `TLS(...)`.
    token: a bearer token, or a function that gives one for each attempt of a call; only with TLS,
        or on this machine.
    allow_plaintext_token: the token may also leave this machine unencrypted.
    timeout: seconds that each call may take, all attempts together; None: any time.
    retry: when a call is made again; None: never.
    keepalive: how a lost connection is noticed; None: not.
    metadata: goes with every call.
    options: further gRPC channel arguments.

    Returns a `Model`. Raises `Unavailable` where no server answers, `NotFound` for another model,
    `Unauthenticated` where the token or certificate is missing or wrong.
    """
    settings = connection.settings(
        address, model=model, tls=tls, token=token, allow_plaintext_token=allow_plaintext_token,
        timeout=timeout, retry=retry, keepalive=keepalive, metadata=metadata, options=options,
    )  # fmt: skip
    return Model(settings)


class Stream(Generic[Event]):
    """The events of one call, in order, as they come. Iterate over it in one thread. Leaving its
    `with` block, or `close` from any thread, cancels what is left of the call.

    Raises a `ScalpelError` where the call fails; the events that came before are valid.
    """

    def __init__(self, model: Model, call: StreamCall[Event, Any]):
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
                self._end()
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

    def _end(self) -> None:
        self.close()
        self._reading.end()

    def __enter__(self) -> Stream[Event]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __del__(self) -> None:
        if getattr(self, "_rpc", None) is not None:
            self._rpc.cancel()


def _whole(
    build: Callable[P, StreamCall[Any, Result]],
) -> Callable[Concatenate[Model, P], Result]:
    """A method that reads a stream to its end and returns the result."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.read(build(*args, **kwargs))

    return methods.as_method(build, method)  # type: ignore[no-any-return]


def _stream(
    build: Callable[P, StreamCall[Event, Any]],
) -> Callable[Concatenate[Model, P], Stream[Event]]:
    """A method that returns the stream."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Stream[Event]:
        return Stream(self, build(*args, **kwargs))

    doc = methods.STREAM.format(build.__name__)
    return methods.as_method(build, method, "Stream[{event}]", doc)  # type: ignore[no-any-return]


def _validation(
    build: Callable[P, StreamCall[Any, Any]], kind: type[Result]
) -> Callable[Concatenate[Model, P], Result]:
    """A method that has a request checked, and returns the one event, of this kind."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.read(calls.validation(build(*args, **kwargs), kind))

    doc = methods.VALIDATE.format(build.__name__)
    return methods.as_method(build, method, kind.__name__, doc)  # type: ignore[no-any-return]


def _unary(build: Callable[P, UnaryCall[Result]]) -> Callable[Concatenate[Model, P], Result]:
    """A method with one answer."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.ask(build(*args, **kwargs))

    return methods.as_method(build, method)  # type: ignore[no-any-return]


@methods.named
class Model(Caller):
    """A served model: made by `connect`. Thread-safe; close it, or use it in a `with` block.

    It can be pickled, for pools of processes, Dask and Ray: as what `connect` was told, with which
    it connects again where it is unpickled. That includes the token and the metadata, and keys that
    were given as bytes: a pickle is as secret as they are. Files are read anew, there.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        options = settings.channel_options()
        if settings.tls is None:
            self._connection = grpc.insecure_channel(settings.address, options)
        else:
            credentials = settings.tls.credentials()
            self._connection = grpc.secure_channel(settings.address, credentials, options)
        try:
            self.info = self.get_info()
        except BaseException:
            self.close()
            raise

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

    def close(self) -> None:
        """Closes the connection; calls that are running are cancelled."""
        self._connection.close()

    def _channel(self) -> grpc.Channel:
        return self._connection

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.info.name} at {self.settings.address}>"

    def read(self, call: StreamCall[Event, Result]) -> Result:
        """Makes a call of `scalpel.calls`, reads its stream to the end, and returns the result."""
        events: list[Event] = []
        try:
            with Stream(self, call) as stream:
                for event in stream:
                    events.append(event)
        except ScalpelError as error:
            error.partial = call.partial(events)
            raise
        return call.collect(events)

    def _consider(self, questions: Iterable[Question]) -> None:
        """Asks what is to be known before a call of `scalpel.calls`. Raises or warns as the answers
        say."""
        for question in questions:
            try:
                prompts = self.read(question.call(None)).prompts
            except calls.SAID_BY_THE_CALL:
                continue
            question.consider(prompts)

    def ask(self, call: UnaryCall[Result]) -> Result:
        """Makes a call of `scalpel.calls` that has one answer."""
        attempts = Attempts(self.settings, call.timeout, call.arguments)
        method = self._method(self._channel().unary_unary, call)
        while True:
            try:
                response = method(
                    self.settings.addressed(call.request),
                    timeout=attempts.left(),
                    metadata=self.settings.call_metadata(None),
                )
            except grpc.RpcError as error:
                failure = error
            else:
                return call.convert(response)
            time.sleep(attempts.pause(failure))
