"""Checks that the events of a Run stream keep the contract's order and bookkeeping."""

import math

from google.protobuf import json_format

from scalpel.v1 import run_pb2, site_pb2, tensor_pb2
from tests.support.client import Event, RunResult

BEFORE_LAYERS = (site_pb2.SITE_EMBED, site_pb2.SITE_POS_EMBED)
AFTER_LAYERS = 1 << 20  # sorts behind every layer
CHUNK_BYTES_MAX = 1 << 20
LAYER_EVENTS = ("layer_statistics", "block_output", "tensor_chunk")
BLOCK_KINDS = (tensor_pb2.TENSOR_KIND_BLOCK_HIDDEN_STATES, tensor_pb2.TENSOR_KIND_BLOCK_ATTENTIONS)


def from_json(messages):
    """Events from protobuf's JSON form; a field that the contract lacks is an error."""
    events = []
    for message in messages:
        response = json_format.ParseDict(message, run_pb2.RunResponse())
        kind = response.WhichOneof("event")
        assert kind, f"an event without content: {message}"
        events.append(Event(kind, getattr(response, kind), 0.0))
    return events


def checked(events):
    """Checks everything that holds of every complete Run stream; returns the RunResult."""
    kinds = [event.kind for event in events]
    assert kinds[0] == "started" and kinds.count("started") == 1, kinds
    assert kinds[-1] == "finished" and kinds.count("finished") == 1, kinds
    _check_order(events[1:-1])
    _check_chunks(events)
    result = RunResult(events)
    _check_statistics(events)
    _check_logits(result)
    _check_accounts(result)
    return result


def numbers(result):
    """The bytes of all numbers of an answer: tensors, statistics and logits, without names."""
    tensors = [event.message.data for event in result.events if event.kind == "tensor_chunk"]
    statistics = [
        [
            entry.SerializeToString()
            for entry in [*probe.statistics, *probe.quantiles, probe.histogram]
        ]
        for probe in result.statistics
    ]
    logits = [entry.SerializeToString() for entry in result.top_logits]
    return tensors, statistics, logits


def _stage(event):
    """Where in the forward pass an event belongs: -1 embeddings, then the layers, then the rest.

    The first hidden state enters layer 0, and comes with it; each other one leaves a layer.
    """
    if event.kind == "block_output":
        return event.message.layer
    about = event.message.header if event.kind == "tensor_chunk" else event.message
    if event.kind == "tensor_chunk" and about.kind == tensor_pb2.TENSOR_KIND_HIDDEN_STATES:
        return max(about.index - 1, 0)
    if about.HasField("layer"):
        return about.layer
    site = about.site if event.kind == "tensor_chunk" else about.results[0].site
    return -1 if site in BEFORE_LAYERS else AFTER_LAYERS


def _check_order(events):
    """Layer by layer; then logits (full ones are tensors); then a report for each intervention."""
    phase, stage, reports = 0, -1, 0
    for event in events:
        full_logits = (
            event.kind == "tensor_chunk"
            and event.message.header.kind == tensor_pb2.TENSOR_KIND_LOGITS
        )
        now = 1 if event.kind == "logits" or full_logits else 0 if event.kind in LAYER_EVENTS else 2
        continues = event.kind == "tensor_chunk" and not event.message.HasField("header")
        assert now >= phase or continues, f"{event.kind} after a later kind of event"
        phase = max(phase, now)
        if event.kind == "intervention_report":
            assert event.message.index == reports
            reports += 1
        elif now == 0 and not continues:
            assert _stage(event) >= stage, f"an event of an earlier layer:\n{event.message}"
            stage = _stage(event)


def _check_chunks(events):
    """Nothing comes between the chunks of a tensor; block outputs' tensors are those announced."""
    left, announced, elements = 0, [], []
    for event in events:
        assert left == 0 or event.kind == "tensor_chunk", f"{event.kind} inside a tensor"
        if event.kind == "block_output":
            assert not announced, "a block output before the elements of the one before"
            announced = list(event.message.tensor_ids)
            elements += announced
        if event.kind == "tensor_chunk":
            header = event.message.header
            if event.message.HasField("header"):
                left = header.size_bytes
                assert header.kind and header.name and header.prompts and left > 0
                if header.kind in BLOCK_KINDS:
                    assert announced and announced.pop(0) == header.tensor_id
            assert 0 < len(event.message.data) <= CHUNK_BYTES_MAX
            left -= len(event.message.data)
    assert left == 0 and not announced


def _check_statistics(events):
    """One event a layer; results by site, then probe, then prompt; values fill their shape."""
    events = [event for event in events if event.kind == "layer_statistics"]
    stages = [_stage(event) for event in events]
    assert stages == sorted(set(stages)), f"not one event for each layer: {stages}"
    for event in events:
        results = event.message.results
        order = [(result.site, result.index, result.prompt) for result in results]
        assert order and order == sorted(order), f"results are out of order: {order}"
        for result in results:
            assert result.HasField("layer") == event.message.HasField("layer")
            assert result.layer == event.message.layer
            for entry in [*result.statistics, *result.quantiles]:
                assert len(entry.values) == math.prod(result.shape)


def _check_logits(result):
    """Positions ascend; the largest come first, of equal ones the smaller id."""
    asked = result.started.normalized.logits
    for entry in result.top_logits:
        positions = [position.position for position in entry.positions]
        assert positions and positions == sorted(set(positions))
        for tokens in (position.tokens for position in entry.positions):
            assert all(token.token and token.log_prob <= 0 for token in tokens)
            if asked.WhichOneof("form") == "top_k":
                ranks = [(-token.logit, token.token_id) for token in tokens]
                assert ranks == sorted(ranks) and len(ranks) == asked.top_k.k


def _check_accounts(result):
    """The cost foretold is the cost: rows, tokens, and bytes as an upper bound."""
    request, cost, finished = result.started.normalized, result.started.cost, result.finished
    rows = len(request.prompts) * (2 if request.include_clean_run else 1)
    assert cost.rows >= rows
    # What the cache holds of clean runs need not be computed again.
    assert cost.tokens >= max(finished.tokens_computed, sum(map(len, result.tokens)))
    sizes = [tensor.header.size_bytes for tensor in result.tensors]
    assert finished.tensor_bytes == sum(sizes)
    sent = sum(event.message.ByteSize() for event in result.events)
    assert cost.response_bytes >= sent, "more was sent than was reserved"
    assert cost.flops > 0 and finished.compute_us > 0 and finished.queue_us >= 0
    assert len(result.reports) == len(request.interventions)
    for report, intervention in zip(result.reports, request.interventions, strict=True):
        assert report.name == intervention.name and report.sites_touched >= 1
        assert 0 <= report.elements_changed <= report.elements_selected
