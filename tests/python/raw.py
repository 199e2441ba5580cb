"""Answers of raw stub calls, in the form in which the client's results are compared with them."""

import numpy as np

from scalpel import kl_from_clean
from scalpel.v1 import tensor_pb2

PROMPT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
# Of a sweep that takes long: a variant for each layer, head and position.
LONG = {"over": ["layers", "heads", "positions"], "metrics": kl_from_clean()}


def name_difference(model, prompts, *interventions):
    """The logit of " Mary" over that of " John", at the last position of the first prompt."""
    ids = [model.token_id(" Mary"), model.token_id(" John")]
    logits = model.run(prompts, interventions, logits="full").logits(prompt=0)
    right, wrong = logits[0, ids].astype(np.float64)
    return right - wrong


def assert_same_run(run, raw):
    """Everything that a RunResult holds is what the stub's answer holds, bit for bit."""
    assert run.digest == raw.started.digest
    assert [list(prompt.ids) for prompt in run.prompts] == raw.tokens
    assert [list(p.tokens) for p in run.prompts] == [list(p.tokens) for p in raw.started.prompts]
    _assert_same_tensors(run, raw)
    _assert_same_statistics(run.stats, raw.statistics)
    found = [
        (one.prompt, one.clean, one.position, [(t.token_id, t.token, t.logit) for t in one.tokens])
        for one in run.predictions
    ]
    assert found == [
        (one.prompt, one.clean, at.position, [(t.token_id, t.token, t.logit) for t in at.tokens])
        for one in raw.top_logits
        for at in one.positions
    ]
    fields = ("index", "name", "sites_touched", "elements_selected", "elements_changed",
              "max_abs_change")  # fmt: skip
    assert [[getattr(r, f) for f in fields] for r in run.reports] == [
        [getattr(r, f) for f in fields] for r in raw.reports
    ]


def _assert_same_tensors(run, raw):
    """In the order of the stream, but for block outputs, which hold their tensors."""
    blocks = (
        tensor_pb2.TENSOR_KIND_BLOCK_HIDDEN_STATES,
        tensor_pb2.TENSOR_KIND_BLOCK_ATTENTIONS,
    )
    for mine, theirs in (
        (run.tensors, [t for t in raw.tensors if t.header.kind not in blocks]),
        (
            [tensor for block in run.block_outputs for tensor in block.tensors],
            [t for t in raw.tensors if t.header.kind in blocks],
        ),
    ):
        assert len(mine) == len(theirs)
        for tensor, expected in zip(mine, theirs, strict=True):
            assert tensor.name == expected.header.name and tensor.clean == expected.header.clean
            assert list(tensor.prompts) == list(expected.header.prompts)
            assert tensor.layer == (
                expected.header.layer if expected.header.HasField("layer") else None
            )
            assert len(tensor.axes) == len(tensor.shape)
            np.testing.assert_array_equal(tensor.numpy(), expected.array)


def _assert_same_statistics(mine, theirs):
    assert len(mine) == len(theirs)
    for result, expected in zip(mine, theirs, strict=True):
        assert (result.probe, result.prompt, result.clean) == (
            expected.name,
            expected.prompt,
            expected.clean,
        )
        assert len(result.axes) == len(expected.shape)
        got = [*result.statistics.values(), *result.quantiles.values()]
        wanted = [*expected.statistics, *expected.quantiles]
        assert len(got) == len(wanted)
        for values, entry in zip(got, wanted, strict=True):
            assert values.shape == tuple(expected.shape)
            np.testing.assert_array_equal(values.ravel(), entry.values)
        if expected.HasField("histogram"):
            np.testing.assert_array_equal(
                result.histogram.counts.ravel(), expected.histogram.counts
            )


def assert_same_sweep(sweep, raw):
    """Everything that a SweepResult holds is what the stub's answer holds, bit for bit."""
    assert sweep.cost.flops == raw.started.cost.flops
    assert sweep.finished.tokens_computed > 0
    assert sweep.shape == tuple(len(a.labels) for a in raw.started.axes) or not raw.started.axes
    for metric, prompt in raw.metrics_of_one_number():
        np.testing.assert_array_equal(
            sweep.array(metric, prompt=prompt), raw.matrix(metric, prompt)
        )
    for variant in sweep.variants:
        expected = raw.variants[variant.index]
        assert variant.coordinates == tuple(expected.coordinates)
        assert [(m.metric, m.prompt, list(m.values)) for m in variant.metrics] == [
            (m.name, m.prompt, list(m.values)) for m in expected.metrics
        ]
        assert [[t.token_id for t in m.top] for m in variant.metrics] == [
            [t.token_id for t in m.tokens] for m in expected.metrics
        ]
        _assert_same_statistics(variant.stats, expected.statistics)
        assert [r.elements_changed for r in variant.reports] == [
            r.elements_changed for r in expected.reports
        ]
