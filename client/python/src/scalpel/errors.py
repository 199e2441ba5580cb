"""What can go wrong, as exceptions. Each is a `ScalpelError`, and also the builtin exception that
means the same, so `except TimeoutError` catches a deadline."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from scalpel.arguments import Arguments
    from scalpel.rpc import error_details_pb2

_DETAILS = "grpc-status-details-bin"


class ScalpelError(Exception):
    """A call failed."""

    code: str = "UNKNOWN"
    """The gRPC status code's name, such as `INVALID_ARGUMENT`."""
    request_id: str = ""
    """Names the call in the server's log; empty where the server has not said it."""
    partial: Any = None
    """Of a sweep that was cut short: a `SweepResult` of the variants that came before."""


@dataclasses.dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a request."""

    argument: str
    """The Python argument, such as `interventions[0].layer`."""
    description: str
    """What is wrong, and what would be right."""
    field: str
    """The field of the message, such as `interventions[0].place.where.layers[0]`."""
    written: str = ""
    """The part of the request, such as `zero('k', layer=12)`."""


class RequestError(ScalpelError):
    """The server refuses the request as it stands. Its message lists every violation."""

    violations: tuple[Violation, ...] = ()
    """All that the server lists."""


class InvalidArgument(RequestError, ValueError):
    """Something in the request is wrong."""


class NotImplementedByServer(RequestError, NotImplementedError):
    """The contract defines it, and this server does not implement it."""


class NotFound(ScalpelError, LookupError):
    """The server holds no such model."""


class FailedPrecondition(ScalpelError):
    """The server cannot do this with the model that it holds, such as tokenize without a
    tokenizer."""


class LimitExceeded(ScalpelError):
    """The request is too large for this server, and always will be."""

    limits: tuple[tuple[str, str], ...] = ()
    """Which limits, such as `limits.max_response_bytes`, and by how much."""


class QueueFull(ScalpelError):
    """The server has too much to do, or you ask more at once than it grants you; a later try can
    succeed."""

    retry_after: float = 0.0
    """Seconds to wait at least."""


class DeadlineExceeded(ScalpelError, TimeoutError):
    """The call took longer than its `timeout`."""


class Cancelled(ScalpelError):
    """The call was cancelled, from here or by the server."""


class Unavailable(ScalpelError, ConnectionError):
    """No server answers, or it is loading or draining."""


class AccessDenied(ScalpelError, PermissionError):
    """The server does not let you do this: `Unauthenticated` or `PermissionDenied`."""


class Unauthenticated(AccessDenied):
    """The token or certificate is missing, wrong, or no longer valid."""


class PermissionDenied(AccessDenied):
    """The server knows who you are, and does not allow you this call."""


class ReplicasDiffer(ScalpelError, ValueError):
    """Servers that a sweep is spread over hold different weights."""

    code = "FAILED_PRECONDITION"


class ServerError(ScalpelError):
    """The server's fault; its log has more under `request_id`."""


class ProtocolError(ScalpelError):
    """The answer is not what the contract promises, or it ended too early."""

    code = "DATA_LOSS"


@contextlib.contextmanager
def reading_an_answer() -> Iterator[None]:
    """What goes wrong within is the answer's fault: a `ProtocolError`, whatever it was."""
    try:
        yield
    except ScalpelError:
        raise
    except (ArithmeticError, AssertionError, LookupError, MemoryError, TypeError, ValueError) as e:
        what = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
        raise ProtocolError(f"the answer is not what the contract promises ({what})") from e


_CLASSES: Mapping[str, type[ScalpelError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNIMPLEMENTED": NotImplementedByServer,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": LimitExceeded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "UNAVAILABLE": Unavailable,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "INTERNAL": ServerError,
    "DATA_LOSS": ProtocolError,
}


# What may help, for the message.
_REMEDIES: Mapping[type[ScalpelError], str] = {
    Unavailable: "is a server ready at {address}?",
    Unauthenticated: "`token=` and `tls=` of connect say who you are",
    PermissionDenied: "ask the operator of the server for a role that may",
}


def from_rpc(error: Any, address: str, arguments: Arguments | None = None) -> ScalpelError:
    """The exception for an RPC's error (`grpc.RpcError`, of a sync or an asyncio call)."""
    code: grpc.StatusCode = error.code()
    text = error.details() or code.name
    details = _Details(error.trailing_metadata())
    kind = _CLASSES.get(code.name, ScalpelError)
    made: ScalpelError
    if code.name == "RESOURCE_EXHAUSTED" and details.retry is not None:
        made = QueueFull(text)
        made.retry_after = details.retry
    elif issubclass(kind, RequestError):
        violations = tuple(_violation(v, arguments) for v in details.violations)
        made = kind(_list(violations) or text)
        made.violations = violations
    elif kind in _REMEDIES:
        made = kind(f"{text} ({_REMEDIES[kind].format(address=address)})")
    else:
        made = kind(text)
    if isinstance(made, LimitExceeded):
        made.limits = tuple((v.subject, v.description) for v in details.quota)
    made.code, made.request_id = code.name, details.request_id
    return made


class _Details:
    """The details of google.rpc.Status, as far as the server sends them."""

    def __init__(self, metadata: Any):
        # Here, not above: the exceptions are used where the generated modules are not needed.
        from scalpel.rpc import error_details_pb2, status_pb2

        self.violations: Sequence[error_details_pb2.BadRequest.FieldViolation] = ()
        self.quota: Sequence[error_details_pb2.QuotaFailure.Violation] = ()
        self.retry: float | None = None
        self.request_id = ""
        status = status_pb2.Status()
        for key, value in metadata or ():
            if key == _DETAILS:
                status.MergeFromString(value)
        for detail in status.details:
            name = detail.type_url.rpartition("/")[2]
            if name == "google.rpc.BadRequest":
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                self.violations = bad.field_violations
            elif name == "google.rpc.QuotaFailure":
                self.quota = error_details_pb2.QuotaFailure.FromString(detail.value).violations
            elif name == "google.rpc.RetryInfo":
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                self.retry = delay.seconds + delay.nanos * 1e-9
            elif name == "google.rpc.RequestInfo":
                self.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id


def _violation(
    violation: error_details_pb2.BadRequest.FieldViolation, arguments: Arguments | None
) -> Violation:
    field = violation.field
    if arguments is None:
        return Violation(field, violation.description, field)
    found = arguments.find(field)
    return Violation(found.path, violation.description, field, found.written)


def _list(violations: Sequence[Violation]) -> str:
    """One line for each violation, below the part of the request that it is in."""
    lines: list[str] = []
    part = ""
    for violation in violations:
        if violation.written and violation.written != part:
            lines.append(f"in {violation.written}")
        part = violation.written
        lines.append(f"  {violation.argument}: {violation.description}")
    if len(lines) == 1:
        return lines[0].strip()
    return "\n".join(["the request is refused", *lines]) if lines else ""
