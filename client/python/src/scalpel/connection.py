"""How a server is reached: the channel, who calls, how often to try. Shared by both clients."""

from __future__ import annotations

import dataclasses
import inspect
import ipaddress
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import grpc

from scalpel import errors
from scalpel.v1 import generate_pb2, model_pb2, run_pb2, server_status_pb2, service_pb2, sweep_pb2

if TYPE_CHECKING:
    from scalpel.arguments import Arguments

SERVICE = "/scalpel.v1.InterventionService/"
# The response type of each method.
RESPONSES: Mapping[str, Any] = {
    "GetModel": model_pb2.GetModelResponse,
    "Tokenize": service_pb2.TokenizeResponse,
    "Detokenize": service_pb2.DetokenizeResponse,
    "Run": run_pb2.RunResponse,
    "Sweep": sweep_pb2.SweepResponse,
    "Generate": generate_pb2.GenerateResponse,
    "GetStatus": server_status_pb2.GetStatusResponse,
}
# Above a chunk of tensor data by far: statistics per position of many prompts come in one message.
_MESSAGE_BYTES_MAX = 256 << 20

# The key under which calls say which of them belong together: see affinity.py.
AFFINITY = "x-scalpel-affinity"

# A bearer token, or what gives one whenever a call begins.
Token = str | Callable[[], str]

_Connect = TypeVar("_Connect", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class TLS:
    """Encryption, and who the two sides are. Each file is a path or the PEM bytes themselves."""

    root_certificates: str | os.PathLike[str] | bytes | None = None
    """Whom to trust; None: the system's certificates."""
    certificate: str | os.PathLike[str] | bytes | None = None
    """This client's certificate, for servers that ask for one; with `key`."""
    key: str | os.PathLike[str] | bytes | None = dataclasses.field(default=None, repr=False)
    """The private key of `certificate`."""
    server_name: str | None = None
    """The name that the server's certificate is for, where the address has another."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate, key: they belong together; give both")

    def credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC."""
        files = self.root_certificates, self.key, self.certificate
        return grpc.ssl_channel_credentials(*map(_pem, files))


def _pem(source: str | os.PathLike[str] | bytes | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    with open(source, "rb") as file:
        return file.read()


@dataclasses.dataclass(frozen=True)
class Retry:
    """When a call that failed before its first answer is made again: where no server answers, and
    where the server says how long to wait. Every call is safe to repeat. `client/retry-policy.json`
    is the preset, for gRPC in any language."""

    attempts: int = 4
    """Calls in all, at least 1; 1: never again."""
    first_pause: float = 0.2
    """Seconds before the second call; each further pause is twice as long, less up to a half by
    chance. A server that says how long to wait is waited for at least that long."""
    longest_pause: float = 10.0
    """Seconds."""

    def pause(self, error: errors.ScalpelError, attempt: int, left: float | None) -> float | None:
        """Seconds to wait after `attempt` (from 1), or None to give up. `left`: of the deadline."""
        if attempt >= self.attempts:
            return None
        pause = min(self.first_pause * 2 ** (attempt - 1), self.longest_pause)
        pause *= random.uniform(0.5, 1.0)
        if isinstance(error, errors.QueueFull):
            pause = max(pause, error.retry_after)
        elif not isinstance(error, errors.Unavailable):
            return None
        return pause if left is None or pause < left else None


@dataclasses.dataclass(frozen=True)
class Keepalive:
    """Finds out that the other side is gone without a word. The preset is what every gRPC server
    allows: one that asks for less than five minutes is cut off by most."""

    interval: float = 310.0
    """Seconds of silence before a ping."""
    timeout: float = 20.0
    """Seconds to wait for its answer."""
    without_calls: bool = False
    """Also while no call is running."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `connect` was told."""

    address: str
    model: str | None
    tls: TLS | None
    token: Token | None = dataclasses.field(repr=False)
    timeout: float | None
    retry: Retry
    keepalive: Keepalive | None
    metadata: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, Any], ...]

    def channel_options(self) -> list[tuple[str, Any]]:
        """gRPC's channel arguments; later ones win, so `options` has the last word."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", -1),
            # So that each attempt at a call finds the channel trying to connect.
            ("grpc.initial_reconnect_backoff_ms", max(1, int(self.retry.first_pause * 1000))),
        ]
        if is_local(self.address):
            # A proxy from the environment would also be asked for a server on this machine.
            options.append(("grpc.enable_http_proxy", 0))
        if self.keepalive is not None:
            options += [
                ("grpc.keepalive_time_ms", int(self.keepalive.interval * 1000)),
                ("grpc.keepalive_timeout_ms", int(self.keepalive.timeout * 1000)),
                ("grpc.keepalive_permit_without_calls", int(self.keepalive.without_calls)),
                ("grpc.http2.max_pings_without_data", 0),
            ]
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options + list(self.options)

    def addressed(self, request: Any) -> Any:
        """The request, to the model that `connect` named, unless it names one itself."""
        if self.model is None or request.model:
            return request
        copy = type(request)()
        copy.CopyFrom(request)
        copy.model = self.model
        return copy

    def call_metadata(
        self, request_id: str | None, affinity: str | None = None
    ) -> tuple[tuple[str, str], ...]:
        """What goes with a call beside its message. What `connect` was told has the last word."""
        metadata = list(self.metadata)
        if self.token is not None:
            token = self.token() if callable(self.token) else self.token
            metadata.append(("authorization", f"Bearer {_checked(token)}"))
        if request_id is not None:
            metadata.append(("x-request-id", request_id))
        if affinity is not None and AFFINITY not in dict(metadata):
            metadata.append((AFFINITY, affinity))
        return tuple(metadata)


class Attempts:
    """The attempts of one call, under one deadline. Not thread-safe."""

    def __init__(self, settings: Settings, timeout: float | None, arguments: Arguments | None):
        """`timeout` None: the connection's. `arguments`: for errors to name."""
        self._settings, self._arguments = settings, arguments
        seconds = settings.timeout if timeout is None else timeout
        self._end = None if seconds is None else time.monotonic() + seconds
        self._made = 0

    def left(self) -> float | None:
        """Seconds left for the next attempt, at least 0; None: any time."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def pause(self, error: Any, final: bool = False) -> float:
        """After an RPC's error: seconds to wait before the next attempt. Raises the exception for
        it where there shall be none, which `final` says too. Not to be called while the error is
        handled: the exception would hold it as context, and could not be pickled with it."""
        self._made += 1
        failure = errors.from_rpc(error, self._settings.address, self._arguments)
        pause = self._settings.retry.pause(failure, self._made, self.left())
        if final or pause is None:
            raise failure
        return pause


def settings(
    address: str,
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
) -> Settings:
    """What every `connect` takes, in order. Refuses to send a token where it could be read on the
    way."""
    encryption = (TLS() if tls else None) if isinstance(tls, bool) else tls
    secret = token is not None or "authorization" in (metadata or {})
    if secret and not (encryption or allow_plaintext_token or is_local(address)):
        raise ValueError(
            f"token: it would travel to {address} unencrypted; use TLS, or allow_plaintext_token "
            "where the network itself is trusted"
        )
    if isinstance(token, str):
        _checked(token)
    return Settings(
        address=address,
        model=model,
        tls=encryption,
        token=token,
        timeout=timeout,
        retry=retry or Retry(attempts=1),
        keepalive=keepalive,
        metadata=tuple((metadata or {}).items()),
        options=tuple((options or {}).items()),
    )


class Options(TypedDict, total=False):
    """The types of what `settings` takes by name, for a `connect` that passes it on."""

    model: str | None
    tls: bool | TLS
    token: Token | None
    allow_plaintext_token: bool
    timeout: float | None
    retry: Retry | None
    keepalive: Keepalive | None
    metadata: Mapping[str, str] | None
    options: Mapping[str, Any] | None


def shows_options(connect: _Connect) -> _Connect:
    """Writes into the signature of a `connect`, in place of its `**options`, what they are and what
    each is where it is left out."""
    own = inspect.signature(connect)
    kept = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    known = inspect.signature(settings).parameters.values()
    named = [one for one in known if one.kind is one.KEYWORD_ONLY]
    shown = own.replace(parameters=[*kept, *named])
    connect.__signature__ = shown  # type: ignore[attr-defined]
    return connect


def _checked(token: str) -> str:
    """The token, if metadata can carry it: gRPC's own error would repeat it."""
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError("token: one word of visible ASCII characters; is a line break at its end?")
    return token


def is_local(address: str) -> bool:
    """Whether the address is of this machine, by its spelling."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = re.sub(r"^(dns|ipv4|ipv6):(///)?", "", address)
    host = re.sub(r":\d+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
