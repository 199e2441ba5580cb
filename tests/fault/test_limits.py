"""Requests that ask for more than there is."""

import time

import grpc
import pytest

from scalpel.v1 import service_pb2
from tests.fault.calls import CONFIG, assert_violation, refused, send_raw
from tests.support.client import Client, make_request

PROMPTS = [{"token_ids": {"ids": [1, 2, 3, 4]}}]
RESID = {"path": "blocks.3.hook_resid_pre"}


def many(count, field, item):
    """A request with `count` equal entries, put together as bytes: JSON would take seconds."""
    request = make_request({"prompts": PROMPTS, field: [item]})
    entry = request.SerializeToString()[
        len(make_request({"prompts": PROMPTS}).SerializeToString()) :
    ]
    return service_pb2.RunRequest.FromString(
        make_request({"prompts": PROMPTS}).SerializeToString() + entry * count
    )


@pytest.mark.parametrize(
    "count, field, item, limit",
    [
        (100_000, "interventions", {"place": {"site": "SITE_K"}, "zero": {}}, "max_interventions"),
        (1_000_000, "captures", {"place": {"site": "SITE_K"}}, "max_captures"),
        (
            100_000,
            "probes",
            {"place": {"site": "SITE_K"}, "statistics": ["STATISTIC_STD"]},
            "max_probes",
        ),
    ],
)
def test_too_many_entries(faulty, count, field, item, limit):
    """10^5 interventions; 10^6 captures; duplicate capture names: no retry helps

    The message is within the limit of bytes, so that it is the limit of entries that answers.
    """
    limits = faulty.model().limits
    request = many(count, field, item)
    assert request.ByteSize() < limits.max_request_bytes
    found = assert_violation(faulty, request, field, str(count), str(getattr(limits, limit)))
    assert "RetryInfo" not in found.details and list(found.violations) == [field]


@pytest.mark.parametrize("field, entry", [(4, b""), (5, b""), (5, b"\x12\x00"), (2, b"")])
def test_message_of_nothing_but_small_entries(faulty, field, entry):
    """10^5 interventions; 10^6 captures; duplicate capture names

    Entries of two bytes become objects of a hundred: as many as the limit of bytes admits, four times.
    """
    item = bytes([field << 3 | 2, len(entry)]) + entry
    message = item * ((faulty.model().limits.max_request_bytes - 1024) // len(item))
    for _ in range(4):
        found = refused(lambda: send_raw(faulty, message))
        assert found.code == grpc.StatusCode.INVALID_ARGUMENT


def test_message_above_the_limit_of_bytes(faulty):
    """10^5 interventions; 10^6 captures; duplicate capture names

    So many that the library refuses the message.
    """
    request = many(4_000_000, "captures", {"place": {"site": "SITE_K"}})
    assert request.ByteSize() > faulty.model().limits.max_request_bytes
    found = refused(lambda: faulty.run(request))
    assert found.code == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "field, item",
    [
        ("captures", {"place": RESID}),
        ("probes", {"place": RESID, "statistics": ["STATISTIC_STD"]}),
        ("interventions", {"place": RESID, "zero": {}}),
    ],
)
def test_names(faulty, field, item):
    """10^5 interventions; 10^6 captures; duplicate capture names

    Names are unique, and short.
    """
    twice = {"prompts": PROMPTS, field: [{"name": "same", **item}, {"name": "same", **item}]}
    assert_violation(faulty, twice, f"{field}[1].name", "same", "unique")
    most = faulty.model().limits.max_name_bytes
    long = {"prompts": PROMPTS, field: [{"name": "x" * (most + 1), **item}]}
    assert_violation(faulty, long, f"{field}[0].name", str(most))


def test_a_default_name_can_be_taken(faulty):
    """10^5 interventions; 10^6 captures; duplicate capture names

    Also by the name that another one gets by default.
    """
    request = {
        "prompts": PROMPTS,
        "captures": [{"name": "resid_pre[1]", "place": RESID}, {"place": RESID}],
    }
    assert_violation(faulty, request, "captures[1].name", "resid_pre[1]")


def test_violations_are_listed_up_to_a_limit(faulty):
    """10^5 interventions; 10^6 captures; duplicate capture names

    The answer to many faults stays short.
    """
    place = {"path": "hook_k", "where": {"layers": [99]}}
    request = {"prompts": PROMPTS, "interventions": [{"place": place, "zero": {}}] * 1000}
    found = assert_violation(faulty, request, "interventions[0].place.where.layers[0]")
    assert 1 < len(found.violations) <= 50 and "999 more" in found.message


def test_places_that_the_request_unfolds_into_are_counted(faulty):
    """10^5 interventions; 10^6 captures; duplicate capture names

    Entries times layers times prompts.
    """
    prompts = [{"token_ids": {"ids": [1]}}] * 100
    captures = [{"place": {"site": "SITE_K"}}] * 1000
    found = refused(lambda: faulty.run({"prompts": prompts, "captures": captures}))
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert any("200000" in text for text in found.violations.values())


def test_answer_above_max_response_bytes(faulty):
    """spec whose result exceeds `--max-response-bytes`

    Refused before any compute, with the estimate.
    """
    limits = faulty.model().limits
    rows = limits.max_tokens // 256
    request = {
        "prompts": [{"token_ids": {"ids": [1] * 256}}] * rows,
        "captures": [{"place": {"path": "hook_pattern"}}],
    }
    begin = time.monotonic()
    found = refused(lambda: faulty.run(request))
    assert time.monotonic() - begin < 1, "something was computed"
    assert found.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "RetryInfo" not in found.details
    (violation,) = found.details["QuotaFailure"].violations
    numbers = [int(word) for word in violation.description.split() if word.isdigit()]
    assert "max_response_bytes" in violation.subject
    assert max(numbers) >= rows * 12 * 12 * 256 * 256 * 4 > limits.max_response_bytes


def test_answer_just_within_max_response_bytes(start_server):
    """spec whose result exceeds `--max-response-bytes`

    The limit is the estimate, to the byte.
    """
    request = {
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
                found = refused(lambda: client.run(request))
                assert found.code == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert str(cost) in found.details["QuotaFailure"].violations[0].description


def test_text_that_is_too_long(faulty):
    """10^5 interventions; 10^6 captures; duplicate capture names

    Tokenize has a limit too.
    """
    most = faulty.model().limits.max_text_bytes
    found = refused(lambda: faulty.tokenize("a " * (most // 2 + 1)))
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(most) in found.violations["text"]
    faulty.tokenize("a " * (most // 2))


@pytest.mark.parametrize("token", [-1, CONFIG["vocab_size"], (1 << 31) - 1, -(1 << 31)])
def test_detokenize_of_no_token(faulty, token):
    """token id -1, 50257, INT32_MIN/MAX

    The same for Detokenize.
    """
    found = refused(lambda: faulty.detokenize([1, token]))
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(token) in found.violations["ids[1]"]
