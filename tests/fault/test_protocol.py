"""Calls that break gRPC's own rules, or ask for what the server does not have."""

import gzip
import struct
import zlib

import grpc
import pytest

from scalpel.v1 import model_pb2, service_pb2
from tests.fault import frames, http2
from tests.fault.alive import rss_bytes
from tests.fault.calls import RUN, refused
from tests.support.channel import open_channel
from tests.support.client import make_request

SERVICE = "/scalpel.v1.InterventionService"
GZIP = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
OK, INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL = "0", "3", "12", "13"
REQUEST = make_request({"prompts": [{"token_ids": {"ids": [1, 2]}}]})
MESSAGE = REQUEST.SerializeToString()


def test_raw_call_works_at_all(faulty, server):
    """The control of the others: the same frames without a fault are answered."""
    assert http2.call(server.address, RUN, MESSAGE)["grpc-status"] == OK


@pytest.mark.parametrize("flag", [0, 1])
def test_unknown_encoding(faulty, server, flag):
    """unknown grpc-encoding; compressed flag set, body plain

    gRPC 1.51 forgets an encoding that it does not know (newer ones answer UNIMPLEMENTED), so the
    message reaches the server as it is: encoded bytes are no request.
    """
    headers = [("grpc-encoding", "snappier")]
    answer = http2.call(server.address, RUN, gzip.compress(MESSAGE), flag, headers)
    assert answer["grpc-status"] in (INVALID_ARGUMENT, UNIMPLEMENTED)
    assert answer["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_requests_are_disabled(faulty, server, encoding):
    """unknown grpc-encoding; compressed flag set, body plain

    Known encodings are switched off.
    """
    answer = http2.call(
        server.address, RUN, gzip.compress(MESSAGE), 1, [("grpc-encoding", encoding)]
    )
    assert answer["grpc-status"] == UNIMPLEMENTED


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_bomb_is_not_unpacked(faulty, server, encoding):
    """gzip bomb (1 MB -> 1 GB)"""
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
    assert len(bomb) < 2 << 20
    before = rss_bytes(server.pid)
    with open_channel(server.address) as channel:
        call = channel.unary_stream(RUN, request_serializer=lambda message: message)
        # The library marks the message as packed only where it has packed it itself.
        refusal = refused(
            lambda: list(call(bytes(64 << 20), compression=GZIP[encoding], timeout=20))
        )
        assert refusal.code == grpc.StatusCode.UNIMPLEMENTED
    with frames.connection(server) as link:
        headers = (b"grpc-encoding", encoding.encode())
        link.sendall(frames.call(1, RUN, None, headers))
        body = frames.Body(link, 1)
        body.send(struct.pack(">BI", 1, len(bomb)))
        for at in range(0, len(bomb), 16384):
            if not body.send(bomb[at : at + 16384]):
                break
        assert rss_bytes(server.pid) < before + (64 << 20)


@pytest.mark.parametrize("encoding", [None, "identity", "snappier"])
def test_compressed_flag_on_a_plain_body(faulty, server, encoding):
    """unknown grpc-encoding; compressed flag set, body plain

    gRPC 1.51 does not look at the flag then (newer ones answer INTERNAL): the answer is right.
    """
    headers = [("grpc-encoding", encoding)] if encoding else []
    answer = http2.call(server.address, RUN, MESSAGE, 1, headers)
    assert answer["grpc-status"] in (OK, INTERNAL, UNIMPLEMENTED), answer
    if answer["grpc-status"] == OK:
        plain = http2.call(server.address, RUN, MESSAGE)
        # The first and the last event hold the call's id and times.
        assert http2.messages(answer["body"])[1:-1] == http2.messages(plain["body"])[1:-1] != []


@pytest.mark.parametrize(
    "method, request_",
    [
        ("Run", REQUEST),
        ("GetModel", model_pb2.GetModelRequest()),
        ("Tokenize", service_pb2.TokenizeRequest()),
        ("Detokenize", service_pb2.DetokenizeRequest()),
    ],
)
@pytest.mark.parametrize("name", ["gpt3", "../../etc/passwd", "x" * 100_000, "demo-model "])
def test_unknown_model(faulty, method, request_, name):
    """unknown model / revision"""
    message = type(request_)(model=name)
    message.MergeFrom(request_)
    call = getattr(faulty.stub, method)
    found = refused(lambda: list(call(message)) if method == "Run" else call(message))
    assert found.code == grpc.StatusCode.NOT_FOUND
    assert "model" in found.message and len(found.message) < 2000


@pytest.mark.parametrize(
    "path",
    [
        f"{SERVICE}/Nothing",
        f"{SERVICE}/",
        "/nothing.Here/Run",
        "/",
        "//",
        f"{SERVICE}/run",
        "/" + "x" * 4000,
    ],
)
def test_unknown_method_or_service(faulty, path):
    """unknown method, unknown service"""
    found = refused(lambda: faulty.channel.unary_unary(path)(b"", timeout=10))
    assert found.code == grpc.StatusCode.UNIMPLEMENTED
