"""Channels of clients that say who they are: by a token, by a certificate, or not at all."""

import grpc


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds a token to every call: gRPC's own call credentials need TLS."""

    def __init__(self, token: str):
        self._metadata = ("authorization", f"Bearer {token}")

    def _call(self, continuation, details, request):
        metadata = [*(details.metadata or ()), self._metadata]
        return continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = intercept_unary_stream = _call
    intercept_stream_unary = intercept_stream_stream = _call


def open_channel(
    address: str,
    token: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    options: list[tuple] | None = None,
) -> grpc.Channel:
    """A channel with a connection of its own: gRPC shares them between channels of one address."""
    options = [("grpc.use_local_subchannel_pool", 1), *(options or [])]
    if credentials is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = grpc.secure_channel(address, credentials, options=options)
    return grpc.intercept_channel(channel, Bearer(token)) if token else channel
