"""Answers of Generate, made by hand: what a server would send, to be sent by a `FakeServer` or read
as it is, in part or in another order."""

import itertools

import numpy as np

from scalpel import generation, scale
from scalpel.v1 import generate_pb2, output_pb2, run_pb2, site_pb2, tensor_pb2

PROMPT_IDS, PROMPT_TOKENS = (464, 3139), ("The", " capital")
STEER = scale("resid_post", 2, layer=1, steps="generated", name="steer")
TEXTS = [[" of", " France", " is"], [" of", " Spain", " is"]]
TWINS = [(0, 0, False), (0, 0, True)]


def started(streams, request=None, response_bytes=1 << 20):
    """`streams`: for each its prompt, continuation and whether it is a twin."""
    normalized = generate_pb2.GenerateRequest()
    normalized.CopyFrom(request or generate_pb2.GenerateRequest())
    for place in (*normalized.probes, *normalized.captures):
        place.name = place.name or f"{place.place.path}[0]"
        place.place.site = site_pb2.SITE_RESID_POST
    normalized.stop.max_new_tokens = normalized.stop.max_new_tokens or 8
    prompts = 1 + max(prompt for prompt, _, _ in streams)
    return generate_pb2.GenerateResponse(started=generate_pb2.GenerateStarted(
        request_id="generation-1",
        digest="d1",
        normalized=normalized,
        cost=run_pb2.Cost(rows=len(streams), response_bytes=response_bytes),
        prompts=[{"ids": PROMPT_IDS, "tokens": PROMPT_TOKENS}] * prompts,
        streams=[
            {"prompt": prompt, "continuation": continuation, "unsteered": unsteered}
            for prompt, continuation, unsteered in streams
        ],
        kv_bytes=4096,
    ))  # fmt: skip


def token(stream, step, text, token_id=None, log_prob=-0.5):
    """A token whose id, unless it is said, follows from its text."""
    return generate_pb2.GenerateResponse(token=generate_pb2.GeneratedToken(
        stream=stream, step=step, id=id_of(text) if token_id is None else token_id, token=text,
        text=text, log_prob=log_prob, sampling_log_prob=log_prob / 2,
    ))  # fmt: skip


def id_of(text):
    """An id for a text."""
    return 1000 + sum(text.encode())


def stream_finished(stream, texts, reason=generate_pb2.FINISH_REASON_LENGTH, **fields):
    return generate_pb2.GenerateResponse(stream_finished=generate_pb2.StreamFinished(
        stream=stream, reason=reason, ids=[id_of(text) for text in texts],
        **{"text": "".join(texts), **fields},
    ))  # fmt: skip


def finished(new_tokens):
    return generate_pb2.GenerateResponse(finished=generate_pb2.GenerateFinished(
        queue_us=100, compute_us=2000, tokens_computed=7, new_tokens=new_tokens
    ))  # fmt: skip


def statistics(stream, step, value, layers=(0, 1)):
    """A `std` of the first probe, layer by layer."""
    return [
        generate_pb2.GenerateResponse(step=generate_pb2.StepEvent(
            stream=stream, step=step,
            layer_statistics={"layer": layer, "results": [{
                "index": 0, "name": "resid_post[0]", "site": site_pb2.SITE_RESID_POST,
                "layer": layer,
                "statistics": [{"statistic": "STATISTIC_STD", "values": [value + layer]}],
            }]},
        ))
        for layer in layers
    ]  # fmt: skip


def tensor(stream, step, array, **header):
    """A capture in one chunk, or by `kind` full logits."""
    data = np.asarray(array, "<f4").tobytes()
    fields = {
        "kind": tensor_pb2.TENSOR_KIND_CAPTURE, "name": "resid_post[0]", "layer": 0,
        "site": site_pb2.SITE_RESID_POST, "dtype": tensor_pb2.DATA_TYPE_FLOAT32,
        "shape": np.shape(array), "size_bytes": len(data), **header,
    }  # fmt: skip
    chunk = tensor_pb2.TensorChunk(header=fields, data=data)
    step_event = generate_pb2.StepEvent(stream=stream, step=step, tensor_chunk=chunk)
    return generate_pb2.GenerateResponse(step=step_event)


def logits(stream, step, *texts):
    """Decoded logits, falling."""
    tokens = [
        output_pb2.TokenLogit(token_id=id_of(text), token=text, logit=-i, log_prob=-1 - i)
        for i, text in enumerate(texts)
    ]
    position = output_pb2.PositionLogits(position=1 + step, tokens=tokens)
    step_event = generate_pb2.StepEvent(
        stream=stream, step=step, logits=output_pb2.Logits(positions=[position])
    )
    return generate_pb2.GenerateResponse(step=step_event)


def report():
    return generate_pb2.GenerateResponse(intervention_report={
        "index": 0, "name": "scale[0]", "sites_touched": 3, "elements_selected": 6,
        "elements_changed": 5, "max_abs_change": 1.5,
    })  # fmt: skip


def whole(texts, streams=None, request=None):
    """A generation without observations: the tokens of each stream, all streams in step."""
    streams = streams or [(0, i, False) for i in range(len(texts))]
    rows = itertools.zip_longest(*texts)
    tokens = [
        token(stream, step, text)
        for step, row in enumerate(rows)
        for stream, text in enumerate(row)
        if text is not None
    ]
    ends = [stream_finished(i, one) for i, one in enumerate(texts)]
    total = sum(map(len, texts))
    return [started(streams, request), *tokens, *ends, report(), finished(total)]


# ---- what the client makes of them ---------------------------------------------------------------


def request_of(*arguments, **options):
    return generation.generate(*arguments, **{"max_new_tokens": 8, **options}).request


def result_of(responses, **options):
    """What the client makes of an answer."""
    call = generation.generate("The capital", STEER, **{"max_new_tokens": 8, **options})
    decoder = call.decoder()
    events = [event for response in responses for event in decoder.decode(response)]
    decoder.finish()
    return call.result(events)


def observed(*events, streams=((0, 0, False),), texts=(("a", "b"),), **options):
    """A generation with these events of its steps, each before the token of its step."""
    probes = options.pop("stats", {"resid_post": "std"})
    captures = options.pop("capture", ())
    request = request_of("The capital", stats=probes, capture=captures)
    order = list(events)
    made = [started(list(streams), request)]
    for stream, text in enumerate(texts):
        for step, word in enumerate(text):
            made += [e for e in order if (e.step.stream, e.step.step) == (stream, step)]
            made.append(token(stream, step, word))
    made += [stream_finished(stream, text) for stream, text in enumerate(texts)]
    return result_of([*made, finished(2)], stats=probes, capture=captures, **options)
