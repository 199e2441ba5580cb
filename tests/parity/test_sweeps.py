"""A sweep's numbers are those of its variants run one by one, and of HuggingFace.

The server computes metrics in float64 from logits; so does numpy here, from the full logits of a
Run. What is a logit, or a difference of two, is the same to the last bit.
"""

import itertools

import numpy as np
import pytest

from tests.parity import random_specs
from tests.parity.places import shape_of_model
from tests.support import environment
from tests.support.client import make_request, run_pb2, sweep_pb2

# Of numbers that a logarithm of a sum is part of, in float64.
ROUNDING = 1e-12
EXAMPLES = {path.stem: path for path in environment.examples("sweep")}
SEEDS = range(12)
IDS = [3, 40, 77]


# ---- a variant as a Run --------------------------------------------------------------------------


def run_of(sweep: sweep_pb2.SweepRequest, interventions) -> run_pb2.RunRequest:
    """The prompts and sources of a sweep under a variant's interventions, with all logits."""
    run = run_pb2.RunRequest(
        prompts=[*sweep.prompts, *sweep.sources],
        interventions=interventions,
        probes=sweep.probes,
        allow_non_finite=sweep.allow_non_finite,
    )
    if sweep.HasField("seed"):
        run.seed = sweep.seed
    for entry in [*run.interventions, *run.probes]:
        if not entry.place.where.prompts:
            entry.place.where.prompts.extend(range(len(sweep.prompts)))
    run.logits.full.SetInParent()
    run.logits.positions.range.SetInParent()
    return run


def cells_of(grid: sweep_pb2.Grid):
    """The interventions of each cell, by the contract's own words: the last axis is the fastest."""
    axes = [getattr(axis, axis.WhichOneof("over")).values for axis in grid.axes]
    for values in itertools.product(*axes):
        cell = sweep_pb2.Grid(interventions=grid.interventions)
        for axis, value in zip(grid.axes, values, strict=True):
            for index in axis.interventions:
                intervention = cell.interventions[index]
                where = intervention.place.where
                match axis.WhichOneof("over"):
                    case "layers":
                        where.layers.append(value)
                    case "heads":
                        where.heads.append(value)
                    case "positions":
                        where.positions.indices.values.append(value)
                    case "values":
                        intervention.scale.factor = value
        yield list(cell.interventions)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def entry_for(prompt: int, entries) -> int:
    return entries[0] if len(entries) == 1 else entries[prompt]


def expected(metric: sweep_pb2.Metric, prompt: int, logits, clean, tokens, prompts: int):
    """The metric's values in one prompt, and how exact they are. `logits`, `clean`: by prompt."""
    kind = metric.WhichOneof("kind")
    if kind == "loss":
        log_probs = log_softmax(logits[prompt])
        next_tokens = tokens[prompt][1:]
        return [-np.mean(log_probs[np.arange(len(next_tokens)), next_tokens])], ROUNDING
    at, before = logits[prompt][metric.position], clean[prompt][metric.position]

    def difference(of, row):
        target, distractor = (entry_for(prompt, ids) for ids in (of.targets, of.distractors))
        return float(row[target]) - float(row[distractor])

    match kind:
        case "logits":
            return [float(at[i]) for i in metric.logits.ids], 0
        case "log_probs":
            return log_softmax(at)[metric.log_probs.ids], ROUNDING
        case "probabilities":
            return np.exp(log_softmax(at)[metric.probabilities.ids]), ROUNDING
        case "ranks":
            order = np.lexsort((np.arange(len(at)), -at)).tolist()
            return [order.index(i) for i in metric.ranks.ids], 0
        case "logit_diff":
            return [difference(metric.logit_diff, at)], 0
        case "kl_from_clean":
            p, q = log_softmax(before), log_softmax(at)
            return [np.sum(np.exp(p) * (p - q))], ROUNDING
        case "top1_agreement":
            return [float(at.argmax() == before.argmax())], 0
        case "patching_score":
            score = metric.patching_score
            source = clean[prompts + entry_for(prompt, score.sources)][metric.position]
            low, high = difference(score, before), difference(score, source)
            with np.errstate(divide="ignore", invalid="ignore"):
                return [np.divide(difference(score, at) - low, high - low)], 0
    raise AssertionError(f"no metric {kind}")


def check(client, request, variants) -> int:
    """Every metric and statistic of every variant against a Run of it. Returns how many variants
    moved the logits."""
    result = client.sweep(request)
    sweep = result.started.normalized
    tokens = [list(prompt.ids) for prompt in result.started.prompts]
    prompts = len(sweep.prompts)
    everybody = range(len(tokens))
    clean_run = client.run(run_of(request, []))
    clean = [clean_run.logits(prompt) for prompt in everybody]
    moved = 0
    assert len(result.variants) == len(variants)
    for index, interventions in enumerate(variants):
        alone = client.run(run_of(request, interventions))
        logits = [alone.logits(prompt) for prompt in everybody]
        moved += any((logits[i] != clean[i]).any() for i in range(prompts))
        for metric, prompt in itertools.product(sweep.metrics, range(prompts)):
            if metric.HasField("top_k"):
                check_top_k(result.variants[index], metric, prompt, logits[prompt])
                continue
            want, allowed = expected(metric, prompt, logits, clean, tokens, prompts)
            got = result.values(index, metric.name, prompt)
            np.testing.assert_allclose(got, want, rtol=allowed, atol=allowed, err_msg=metric.name)
        ours = sorted(entry.SerializeToString() for entry in result.variants[index].statistics)
        theirs = sorted(entry.SerializeToString() for entry in alone.statistics)
        assert ours == theirs, f"statistics of variant {index}"
        if request.reports:
            assert list(result.variants[index].reports) == alone.reports
    return moved


def check_top_k(variant, metric, prompt, logits):
    (found,) = (m for m in variant.metrics if m.name == metric.name and m.prompt == prompt)
    at = logits[metric.position]
    order = np.lexsort((np.arange(len(at)), -at))[: metric.top_k.k]
    assert [token.token_id for token in found.tokens] == order.tolist()
    assert [token.logit for token in found.tokens] == at[order].tolist()


# ---- against Run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_their_variants_one_by_one(client, name):
    request = make_request(EXAMPLES[name], sweep_pb2.SweepRequest)
    result = client.sweep(request)
    variants = list(cells_of(result.started.normalized.grid))
    assert check(client, request, variants) >= len(variants) // 3


def random_sweep(model, seed: int):
    """Random interventions on the same prompts; every metric."""
    specs = random_specs.Specs(shape_of_model(model), seed, prompts=2, length_max=9)
    for _ in range(4):
        specs.add_intervention()
    for _ in range(2):
        specs.add_probe()
    sweep = sweep_pb2.SweepRequest(
        prompts=specs.request.prompts,
        probes=specs.request.probes,
        seed=specs.request.seed,
        reports=True,
    )
    sweep.sources.add().token_ids.ids.extend(range(50, 64))
    variants = [[], *([entry] for entry in specs.request.interventions)]
    variants.append(list(specs.request.interventions))
    for interventions in variants:
        sweep.variants.variants.add().interventions.extend(interventions)
    metrics = [
        {"logits": {"ids": IDS}},
        {"log_probs": {"ids": IDS}},
        {"probabilities": {"ids": IDS}},
        {"ranks": {"ids": IDS}},
        {"logit_diff": {"targets": [3, 5], "distractors": [7]}},
        {"kl_from_clean": {}},
        {"kl_from_clean": {}, "position": 0},
        {"top1_agreement": {}},
        {"top_k": {"k": 3}},
        {"loss": {}},
        {"patching_score": {"targets": [3], "distractors": [7], "sources": [0]}},
    ]
    sweep.metrics.extend(make_request(metric, sweep_pb2.Metric) for metric in metrics)
    return sweep, variants


@pytest.mark.parametrize("seed", SEEDS)
def test_random_variants_are_as_run_one_by_one(client, seed):
    request, variants = random_sweep(client.model(), seed)
    assert check(client, request, variants) >= 2


def test_the_same_sweep_has_the_same_bytes(client):
    """Whatever the order in which variants complete, and whatever the cache holds by now."""
    request = make_request(EXAMPLES["19-sweep-heads"], sweep_pb2.SweepRequest)
    first, second = (
        {
            index: variant.SerializeToString(deterministic=True)
            for index, variant in client.sweep(request).variants.items()
        }
        for _ in range(2)
    )
    assert first == second


# ---- against HuggingFace -------------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_as_huggingface_shows_them(client, model_dir, name):
    """A few variants of each example: logits' metrics within what the contract allows of logits."""
    pytest.importorskip("transformers")
    from tests.parity import twin
    from tests.parity.answer import LOGITS_TOLERANCE, key

    model = twin.load(model_dir)
    request = make_request(EXAMPLES[name], sweep_pb2.SweepRequest)
    result = client.sweep(request)
    sweep = result.started.normalized
    tokens = [list(prompt.ids) for prompt in result.started.prompts]

    def twin_logits(interventions):
        run = client.run(
            run_pb2.RunRequest(
                validate_only=True,
                prompts=[*sweep.prompts, *sweep.sources],
                interventions=run_of(sweep, interventions).interventions,
            )
        ).started.normalized
        run.validate_only = False
        run.logits.Clear()
        run.logits.full.SetInParent()
        run.logits.positions.range.SetInParent()
        found = twin.answer(model, run, tokens)
        return [found[key("logits", "", None, [prompt])].value for prompt in range(len(tokens))]

    variants = list(cells_of(sweep.grid))
    clean = twin_logits([])
    for index in range(0, len(variants), max(1, len(variants) // 8)):
        logits = twin_logits(variants[index])
        for metric in sweep.metrics:
            if metric.HasField("top_k"):
                continue
            want, _ = expected(metric, 0, logits, clean, tokens, len(sweep.prompts))
            got = result.values(index, metric.name)
            np.testing.assert_allclose(got, want, atol=4 * LOGITS_TOLERANCE, err_msg=metric.name)
