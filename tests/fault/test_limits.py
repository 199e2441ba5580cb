"""Requests and answers of more bytes than there may be.

Too many entries, or names that are too long, are among the refusals (test_refusals.py).
"""

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.fault.calls import Refusal, refused, send_raw
from tests.fault.refusals.case import PROMPTS
from tests.fault.refusals.limits import many
from tests.support.client import Client, make_request
from tests.support.server import Server

OK, RESOURCE_EXHAUSTED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("field, entry", [(4, b""), (5, b""), (5, b"\x12\x00"), (2, b"")])
def test_message_of_nothing_but_small_entries(faulty: Client, field: int, entry: bytes) -> None:
    """Entries of two bytes become objects of a hundred: as many as the limit of bytes admits, four
    times."""
    item = bytes([field << 3 | 2, len(entry)]) + entry
    message = item * ((faulty.model().limits.max_request_bytes - 1024) // len(item))
    for _ in range(4):
        found = refused(lambda: send_raw(faulty, message))
        assert found.code == grpc.StatusCode.INVALID_ARGUMENT


def test_message_above_the_limit_of_bytes(faulty: Client) -> None:
    """So many that the library refuses the message."""
    request = many(4_000_000, "captures", {"place": {"site": "SITE_K"}})
    assert request.ByteSize() > faulty.model().limits.max_request_bytes
    found = refused(lambda: faulty.run(request))
    assert found.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_limit_of_bytes_is_exact(faulty: Client) -> None:
    """message 1 byte over the receive limit"""
    most = faulty.model().limits.max_request_bytes
    for size, code in ((most, OK), (most + 1, RESOURCE_EXHAUSTED)):
        assert _code(faulty, _message_of(size)) == code, size - most


def _message_of(size: int) -> bytes:
    """A good request of so many bytes: a field that the contract does not know makes it up."""
    good = make_request({"prompts": PROMPTS}).SerializeToString()
    filling = size - len(good) - 6  # two bytes of tag and four of length
    length = bytes(
        [filling >> shift & 127 | (128 if shift < 21 else 0) for shift in (0, 7, 14, 21)]
    )
    message = good + b"\xc2\x3e" + length + b"x" * filling
    assert len(message) == size
    return message


def _code(client: Client, message: bytes) -> grpc.StatusCode:
    try:
        send_raw(client, message)
    except grpc.RpcError as error:
        return error.code()
    return OK


def test_violations_are_listed_up_to_a_limit(faulty: Client) -> None:
    """The answer to many faults stays short."""
    place = {"path": "hook_k", "where": {"layers": [99]}}
    request = {"prompts": PROMPTS, "interventions": [{"place": place, "zero": {}}] * 1000}
    found = refused(lambda: faulty.run(request))
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "interventions[0].place.where.layers[0]" in found.violations
    assert 1 < len(found.violations) <= faulty.model().limits.max_violations


def test_answer_above_max_response_bytes(faulty: Client) -> None:
    """Refused before any compute."""
    rows = faulty.model().limits.max_tokens // 256
    request = {
        "prompts": [{"token_ids": {"ids": [1] * 256}}] * rows,
        "captures": [{"place": {"path": "hook_pattern"}}],
    }
    begin = time.monotonic()
    found = refused(lambda: faulty.run(request))
    assert time.monotonic() - begin < 1, "something was computed"
    assert_too_large(found)


def test_answer_just_within_max_response_bytes(start_server: Callable[..., Server]) -> None:
    """The limit is the estimate, to the byte."""
    request: dict[str, Any] = {
        "prompts": [{"token_ids": {"ids": [1] * 64}}],
        "captures": [{"place": {"path": "hook_pattern"}}],
    }
    with Client(start_server().address) as client:
        cost = client.run(request).started.cost.response_bytes
    for spare, fits in ((0, True), (1, False)):
        with Client(start_server("--max-response-bytes", str(cost - spare)).address) as client:
            if fits:
                client.run(request)
            else:
                assert_too_large(refused(lambda: client.run(request)))


def assert_too_large(found: Refusal) -> None:
    """No later try can succeed."""
    assert found.code == grpc.StatusCode.RESOURCE_EXHAUSTED, found
    subjects = [violation.subject for violation in found.details["QuotaFailure"].violations]
    assert subjects == ["limits.max_response_bytes"] and "RetryInfo" not in found.details
