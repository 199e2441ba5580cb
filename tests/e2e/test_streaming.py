"""Events arrive while the model still computes, and long tensors arrive in pieces."""

import itertools

from tests.e2e import grpcurl, heavy, stream

LAYERS = 12


def test_statistics_arrive_while_later_layers_compute(client):
    """Were they held back to the end, the first layer's would arrive together with the last's."""
    events = list(client.events(heavy.seconds()))
    stream.checked(events)
    arrivals = [event.at for event in events if event.kind == "layer_statistics"]
    compute_seconds = events[-1].message.compute_us / 1e6
    assert len(arrivals) == LAYERS
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] - arrivals[0] > 0.5 * compute_seconds
    steps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert max(steps) < 0.5 * compute_seconds, "layers came in bunches"


def test_tensors_longer_than_a_chunk_are_cut(server):
    """Three captures of more than 1 MiB each, as grpcurl receives them."""
    request = {
        "prompts": [{"token_ids": {"ids": [7] * 256}}],
        "captures": [
            {"name": "scores", "place": {"site": "SITE_PATTERN", "where": {"layers": [0, 5, 11]}}}
        ],
        "logits": {"none": {}},
    }
    answer = grpcurl.call(server.address, "Run", request)
    result = stream.checked(stream.from_json(answer.messages))
    assert [tensor.header.layer for tensor in result.tensors] == [0, 5, 11]
    assert {tensor.array.shape for tensor in result.tensors} == {(12, 256, 256)}
    chunks = [event.message for event in result.events if event.kind == "tensor_chunk"]
    assert len(chunks) == 9 and not result.top_logits


def test_the_callers_request_id_comes_back(server):
    options = ["-H", "x-request-id: study-7.a"]
    request = {"prompts": [{"text": "The keys"}]}
    answer = grpcurl.call(server.address, "Run", request, options=options)
    assert answer.messages[0]["started"]["request_id"] == "study-7.a"
    made = [
        grpcurl.call(server.address, "Run", request).messages[0]["started"]["request_id"]
        for _ in range(2)
    ]
    assert made[0] and made[1] and made[0] != made[1], "without one, each call has its own"
