"""Messages that are no requests: noise, cut-off messages, endless nesting."""

import random

import grpc
import pytest
from google.protobuf.message import DecodeError

from scalpel.v1 import model_pb2, run_pb2, service_pb2, sweep_pb2
from tests.fault.alive import GOLDEN
from tests.fault.calls import RUN, refused, send_raw
from tests.support.client import make_request

SERVICE = "/scalpel.v1.InterventionService/"
METHODS = {
    "GetModel": model_pb2.GetModelRequest,
    "Tokenize": service_pb2.TokenizeRequest,
    "Detokenize": service_pb2.DetokenizeRequest,
    "Run": run_pb2.RunRequest,
    "Sweep": sweep_pb2.SweepRequest,
}


def unreadable(message_type, data):
    try:
        message_type.FromString(data)
    except DecodeError:
        return True
    return False


def assert_unreadable(client, method, data):
    found = refused(lambda: send_raw(client, data, SERVICE + method))
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT, (data[:64], found)
    assert "message" in found.message or "protobuf" in found.message, found.message


@pytest.mark.parametrize("method", METHODS)
def test_random_bytes_as_the_message(faulty, method):
    """random bytes / truncated protobuf as the message

    Random bytes.
    """
    generator, sent = random.Random(1), 0
    while sent < 30:
        data = generator.randbytes(generator.choice([1, 3, 17, 300, 70000]))
        if unreadable(METHODS[method], data):
            assert_unreadable(faulty, method, data)
            sent += 1


def test_truncated_protobuf(faulty):
    """random bytes / truncated protobuf as the message: a good request, cut off at every byte

    Where the cut falls between two fields the rest is a request, and is answered or refused as one.
    """
    whole, cut = make_request(GOLDEN).SerializeToString(), 0
    for size in range(1, len(whole)):
        if unreadable(run_pb2.RunRequest, whole[:size]):
            assert_unreadable(faulty, "Run", whole[:size])
            cut += 1
    assert cut > len(whole) // 2


@pytest.mark.parametrize(
    "method, data",
    [
        ("Run", b"\x12\x04\x0a\x02\xff\xfe"),
        ("Tokenize", b"\x12\x02\xc3\x28"),
        ("GetModel", b"\x0a\x01\x80"),
    ],
)
def test_text_that_is_not_utf8(faulty, method, data):
    """random bytes / truncated protobuf as the message

    A string field that is not UTF-8.
    """
    assert_unreadable(faulty, method, data)


def groups(levels, number=1000):
    """A field that the contract does not know, as groups one inside the other."""

    def tag(wire_type):
        value, encoded = number << 3 | wire_type, b""
        while value > 127:
            encoded += bytes([value & 127 | 128])
            value >>= 7
        return encoded + bytes([value])

    return tag(3) * levels + tag(4) * levels


@pytest.mark.parametrize("levels", [101, 5000, 400_000])
def test_deep_nesting(faulty, levels):
    """nesting > 100 levels of a recursive field or groups as unknown fields"""
    request = make_request({"prompts": [{"token_ids": {"ids": [1]}}]}).SerializeToString()
    assert_unreadable(faulty, "Run", request + groups(levels))


def test_shallow_nesting_of_unknown_fields_is_ignored(faulty):
    """The control of the above: it is the depth that is refused, not the unknown field."""
    request = make_request({"prompts": [{"token_ids": {"ids": [1]}}]}).SerializeToString()
    assert send_raw(faulty, request + groups(5), RUN)
