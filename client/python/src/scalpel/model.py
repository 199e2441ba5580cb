"""The client for threads: `connect` and `Model`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import grpc

from scalpel import calls, connection
from scalpel.caller import Caller
from scalpel.calls import Question, StreamCall, UnaryCall
from scalpel.connection import Attempts, Settings
from scalpel.errors import ScalpelError
from scalpel.methods import Methods
from scalpel.streams import Stream
from scalpel.worlds import Blocking

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from scalpel.connection import Options

__all__ = ["Model", "Stream", "connect"]

Event = TypeVar("Event")
Result = TypeVar("Result")


@connection.shows_options
def connect(address: str = "127.0.0.1:50051", **options: Unpack[Options]) -> Model:
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
    return Model(connection.settings(address, **options))


class Model(Methods, Caller, Blocking):
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

    def close(self) -> None:
        """Closes the connection; calls that are running are cancelled."""
        self._connection.close()

    def _channel(self) -> grpc.Channel:
        return self._connection

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
        return call.result(events)

    def _consider(self, questions: Iterable[Question]) -> None:
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
                return call.result(response)
            time.sleep(attempts.pause(failure))
