"""Which callers may call which method; a new method needs a row here before it can be trusted."""

import grpc

from tests.fault import methods
from tests.support.channel import open_channel
from tests.support.server import Server

OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED, UNAVAILABLE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE
GET_MODEL = methods.SERVICE + "GetModel"
ROLES = ["reader", "runner", "operator"]  # each may do what the one before may
LEAST_ROLE = {
    methods.SERVICE + "GetModel": "reader",
    methods.SERVICE + "Tokenize": "reader",
    methods.SERVICE + "Detokenize": "reader",
    **dict.fromkeys(methods.REFLECTION, "reader"),
    methods.SERVICE + "Run": "runner",
    methods.SERVICE + "Sweep": "runner",
    methods.SERVICE + "Generate": "runner",
    methods.SERVICE + "GetStatus": "operator",
}
# A balancer or a probe has no token.
EXEMPT = {methods.HEALTH + "Check", methods.HEALTH + "Watch"}
EVERY_METHOD = {*LEAST_ROLE, *EXEMPT}


def status(
    server: Server,
    token: str | None = None,
    path: str = GET_MODEL,
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.StatusCode:
    """How a call on a connection of its own ends."""
    with open_channel(server.address, token=token, credentials=credentials) as channel:
        return methods.status(channel, path)


def statuses(
    address: str,
    token: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> dict[str, grpc.StatusCode]:
    """How a call of each method ends, on one connection."""
    with open_channel(address, token=token, credentials=credentials) as channel:
        return {path: methods.status(channel, path) for path in EVERY_METHOD}
