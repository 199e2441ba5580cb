"""What a sweep of Python says is the message that it means."""

import numpy as np
import pytest
from google.protobuf import json_format

import scalpel
from scalpel import add, calls, metrics, operations, probe, tokens
from scalpel.v1 import prompt_pb2, sweep_pb2

METRICS = [
    (metrics.logit(5, " a"), {"logits": {"ids": [5], "texts": [" a"]}}),
    (metrics.log_prob(" a"), {"log_probs": {"texts": [" a"]}}),
    (metrics.prob(" a", position=0), {"position": 0, "probabilities": {"texts": [" a"]}}),
    (metrics.rank(5, name="r"), {"name": "r", "ranks": {"ids": [5]}}),
    (
        metrics.logit_diff([" a", " b"], 5),
        {"logit_diff": {"target_texts": [" a", " b"], "distractors": [5]}},
    ),
    (metrics.kl_from_clean(position=-2), {"position": -2, "kl_from_clean": {}}),
    (metrics.top1_agreement(), {"top1_agreement": {}}),
    (metrics.top_k(3), {"top_k": {"k": 3}}),
    (metrics.loss(), {"loss": {}}),
    (
        metrics.patching_score([1, 2], " b", source=[1, 0]),
        {"patching_score": {"targets": [1, 2], "distractor_texts": [" b"], "sources": [1, 0]}},
    ),
]


@pytest.mark.parametrize("metric, message", METRICS, ids=lambda value: str(value)[:40])
def test_metric_is_the_message(metric, message):
    assert metric.proto == json_format.ParseDict(message, sweep_pb2.Metric())


def test_every_metric_of_the_contract_has_a_function():
    kinds = sweep_pb2.Metric.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert {metric.proto.WhichOneof("kind") for metric, _ in METRICS} == {k.name for k in kinds}


def test_every_option_of_a_sweep_is_reached():
    call = calls.sweep(
        ["a", "b"],
        [operations.patch("k", from_source=1), operations.scale("z"), add("resid_pre")],
        sources=["c", "d"],
        over=[
            "layers",
            scalpel.heads([0, 2], of=0, name="h"),
            scalpel.positions([-1]),
            scalpel.values([0.5, 2], of=[1]),
            scalpel.directions(np.eye(2), of=[2]),
        ],
        metrics=metrics.loss(),
        stats=probe("z", "std"),
        reports=True,
        seed=3,
        allow_non_finite=True,
    )
    data = np.eye(2, dtype="<f4").tobytes()
    expected = sweep_pb2.SweepRequest(
        prompts=[prompt_pb2.Prompt(text=text) for text in "ab"],
        sources=[prompt_pb2.Prompt(text=text) for text in "cd"],
        metrics=[sweep_pb2.Metric(loss=sweep_pb2.Loss())],
        probes=[probe("z", "std").proto],
        reports=True,
        seed=3,
        allow_non_finite=True,
    )
    grid = {
        "interventions": [
            {"place": {"path": "k"}, "patch": {"clean_prompt": 3}},
            {"place": {"path": "z"}, "scale": {}},
            {"place": {"path": "resid_pre"}, "add": {}},
        ],
        "axes": [
            {"layers": {}},
            {"name": "h", "interventions": [0], "heads": {"values": [0, 2]}},
            {"positions": {"values": [-1]}},
            {"interventions": [1], "values": {"values": [0.5, 2]}},
            {"interventions": [2], "directions": {"dtype": "DATA_TYPE_FLOAT32", "shape": [2, 2]}},
        ],
    }
    expected.grid.CopyFrom(json_format.ParseDict(grid, sweep_pb2.Grid()))
    expected.grid.axes[4].directions.data = data
    assert call.request == expected


def test_variants_are_a_list_or_have_names():
    off = operations.zero("k")
    listed = calls.sweep("a", variants=[[], off, [off, off]]).request.variants.variants
    assert [len(variant.interventions) for variant in listed] == [0, 1, 2]
    assert [variant.name for variant in listed] == ["", "", ""]
    named = calls.sweep("a", variants={"clean": [], "off": off}).request.variants.variants
    assert [variant.name for variant in named] == ["clean", "off"]


def test_what_was_written_is_what_is_shown():
    assert repr(operations.scale("resid_post", 0.1, layer=9)) == (
        "scale('resid_post', 0.1, layer=9)"
    )
    shown = repr(add("resid_pre", np.zeros(768), coefficient=2, unit=slice(0, 768)))
    assert shown == "add('resid_pre', <array [768]>, coefficient=2, unit=slice(0, 768, None))"
    assert repr(operations.knockout([(-1, 1)], head=3)) == "knockout([(-1, 1)], head=3)"
    assert repr(operations.zero("z", position=tokens(5))) == "zero('z', position=tokens(5))"
