"""The client for threads: `connect` and `Model`."""

from __future__ import annotations

import inspect
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import grpc

from scalpel import calls, connection, errors, patching
from scalpel.calls import StreamCall, UnaryCall
from scalpel.connection import TLS, Keepalive, Retry, Settings, Token
from scalpel.events import Started, SweepStarted
from scalpel.progress import Progress

P = ParamSpec("P")
Event = TypeVar("Event")
Result = TypeVar("Result")


def connect(
    address: str = "127.0.0.1:50051",
    *,
    model: str | None = None,
    tls: bool | TLS = False,
    token: Token | None = None,
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
    token: a bearer token, or a function that gives one for each call; only with TLS or on this
        machine.
    timeout: seconds that each call may take, all attempts together; None: any time.
    retry: when a call is made again; None: never.
    keepalive: how a lost connection is noticed; None: not.
    metadata: goes with every call.
    options: further gRPC channel arguments.

    Returns a `Model`. Raises `Unavailable` where no server answers, `NotFound` for another model.
    """
    settings = connection.settings(
        address, model=model, tls=tls, token=token, timeout=timeout, retry=retry,
        keepalive=keepalive, metadata=metadata, options=options,
    )  # fmt: skip
    return Model(settings)


class Stream(Generic[Event]):
    """The events of one call, in order, as they come. Iterate over it, in one thread; leaving its
    `with` block, or `close`, from any thread, cancels what is left of the call.

    Raises a `ScalpelError` where the call fails. Events that came before are valid.
    """

    def __init__(self, model: Model, call: StreamCall[Event, Any]):
        self._model, self._call = model, call
        self._decoder = call.decoder()
        self._pending: deque[Event] = deque()
        self._rpc: Any = None
        self._closed = False
        self._responses = self._read()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._pending:
            response = next(self._responses, None)
            if response is None:
                raise StopIteration
            self._pending.extend(self._decoder.decode(response))
        return self._pending.popleft()

    def close(self) -> None:
        """Cancels the call, if it is still running."""
        self._closed = True
        if self._rpc is not None:
            self._rpc.cancel()

    def __enter__(self) -> Stream[Event]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _read(self) -> Iterator[Any]:
        """Responses; a call that fails before the first one may be made again."""
        call, settings = self._call, self._model.settings
        deadline = connection.Deadline(call.timeout or settings.timeout)
        for attempt in itertools.count(1):
            begun = False
            try:
                self._rpc = self._model.start(call, deadline.left())
                if self._closed:
                    self._rpc.cancel()
                for response in self._rpc:
                    begun = True
                    yield response
                self._decoder.finish()
                return
            except grpc.RpcError as error:
                failure = errors.from_rpc(error, settings.address, call.arguments)
                pause = settings.retry.pause(failure, attempt, deadline.left())
                if begun or self._closed or pause is None:
                    raise failure from None
                time.sleep(pause)
            finally:
                if self._rpc is not None:
                    self._rpc.cancel()


def _as_method(build: Callable[..., Any], method: Callable[..., Any], doc: str | None) -> Any:
    """Gives a method the name, signature and docstring of the function that builds its call."""
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [own, *signature.parameters.values()]
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    method.__doc__ = doc or build.__doc__
    return method


def _whole(
    build: Callable[P, StreamCall[Event, Result]],
) -> Callable[Concatenate[Model, P], Result]:
    """A method that reads a stream to its end and returns the result."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.read(build(*args, **kwargs))

    return _as_method(build, method, None)  # type: ignore[no-any-return]


def _stream(
    build: Callable[P, StreamCall[Event, Any]], doc: str
) -> Callable[Concatenate[Model, P], Stream[Event]]:
    """A method that returns the stream."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Stream[Event]:
        return Stream(self, build(*args, **kwargs))

    return _as_method(build, method, doc)  # type: ignore[no-any-return]


def _validation(
    build: Callable[P, StreamCall[Any, Any]], kind: type[Result], doc: str
) -> Callable[Concatenate[Model, P], Result]:
    """A method that has a request checked, and returns the one event."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        started: Result = self.read(calls.validate(build(*args, **kwargs)))
        return started

    return _as_method(build, method, doc)  # type: ignore[no-any-return]


def _unary(
    build: Callable[P, UnaryCall[Result]],
) -> Callable[Concatenate[Model, P], Result]:
    """A method with one answer."""

    def method(self: Model, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.ask(build(*args, **kwargs))

    return _as_method(build, method, None)  # type: ignore[no-any-return]


class Model:
    """A served model: made by `connect`. Thread-safe; close it, or use it in a `with` block."""

    def __init__(self, settings: Settings):
        self.settings = settings
        options = settings.channel_options()
        if settings.tls is None:
            self._channel = grpc.insecure_channel(settings.address, options)
        else:
            credentials = settings.tls.credentials()
            self._channel = grpc.secure_channel(settings.address, credentials, options)
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

    stream = _stream(calls.run, "`run`, as a `Stream` of events while the model computes.")
    stream_sweep = _stream(calls.sweep, "`sweep`, as a `Stream` of events as variants complete.")
    stream_request = _stream(calls.run_request, "`run_request`, as a `Stream` of events.")

    validate = _validation(
        calls.run, Started, "Checks the arguments of `run`, and says what it would cost: `.cost`."
    )
    validate_sweep = _validation(
        calls.sweep, SweepStarted, "Checks the arguments of `sweep`, and says what it would cost."
    )

    get_info = _unary(calls.info)
    tokenize = _unary(calls.tokenize)
    detokenize = _unary(calls.detokenize)
    token_id = _unary(calls.token_id)

    def close(self) -> None:
        """Closes the connection; calls that are running are cancelled."""
        self._channel.close()

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
        """Makes a call, reads its stream to the end, and returns the result."""
        with Stream(self, call) as stream:
            return call.collect(list(stream))

    def start(self, call: StreamCall[Any, Any], timeout: float | None) -> Any:
        """Begins an attempt: an iterator of responses with `cancel`."""
        method = self._channel.unary_stream(
            connection.SERVICE + call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=connection.RESPONSES[call.method].FromString,
        )
        request = self.settings.addressed(call.request)
        metadata = self.settings.call_metadata(call.request_id)
        return method(request, timeout=timeout, metadata=metadata)

    def ask(self, call: UnaryCall[Result]) -> Result:
        """Makes a call with one answer."""
        method = self._channel.unary_unary(
            connection.SERVICE + call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=connection.RESPONSES[call.method].FromString,
        )
        settings = self.settings
        request = settings.addressed(call.request)
        deadline = connection.Deadline(call.timeout or settings.timeout)
        for attempt in itertools.count(1):
            metadata = settings.call_metadata(None)
            try:
                response = method(request, timeout=deadline.left(), metadata=metadata)
                return call.convert(response)
            except grpc.RpcError as error:
                failure = errors.from_rpc(error, settings.address, call.arguments)
                pause = settings.retry.pause(failure, attempt, deadline.left())
                if pause is None:
                    raise failure from None
                time.sleep(pause)
        raise AssertionError("unreachable")
