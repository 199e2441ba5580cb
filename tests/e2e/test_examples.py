"""Every file of client/examples/requests, sent by grpcurl as it is, and what it shows."""

import json

import numpy as np
import pytest
from google.protobuf import json_format

from scalpel.v1 import statistic_pb2, tensor_pb2
from tests.e2e import grpcurl, stream
from tests.support import environment

EXAMPLES = environment.EXAMPLES
FILES = [path.stem for path in environment.examples()]
N_LAYER, N_HEAD = 12, 12
LAYERS = range(N_LAYER)


@pytest.fixture(scope="module")
def run(server):
    """Posts an example, once however many tests look at it."""
    answers = {}

    def once(name):
        if name not in answers:
            answer = grpcurl.call(server.address, "Run", (EXAMPLES / f"{name}.json").read_bytes())
            assert answer.code == 0, answer.stderr
            answers[name] = stream.checked(stream.from_json(answer.messages))
        return answers[name]

    return once


@pytest.fixture(scope="module")
def d_model(client):
    return client.model().config.d_model


def length(result, prompt=0):
    return len(result.tokens[prompt])


@pytest.mark.parametrize("name", [name for name in FILES if name != "18-validate-only"])
def test_example_streams_as_the_contract_says(run, name):
    result = run(name)
    request = json.loads((EXAMPLES / f"{name}.json").read_text())
    texts = [prompt["text"] for prompt in request["prompts"]]
    assert ["".join(prompt.tokens) for prompt in result.started.prompts] == texts
    for report in result.reports:
        assert report.elements_changed > 0, f"{report.name} changed nothing"
        # Where a score becomes minus infinity there is no finite difference.
        assert report.max_abs_change > 0 or name == "08-knockout"
    if "logits" not in request:
        runs = 2 if request.get("include_clean_run") else 1
        assert len(result.top_logits) == runs * len(texts)
        for entry in result.top_logits:
            (last,) = entry.positions
            assert last.position == length(result, entry.prompt) - 1
            assert len(last.tokens) == 10


def test_examples_use_every_operation_and_statistic(client):
    """Whatever the server offers has an example."""
    model = client.model()
    operations, statistics = set(), set()
    for name in FILES:
        request = json.loads((EXAMPLES / f"{name}.json").read_text())
        for intervention in request.get("interventions", []):
            operations |= set(intervention) - {"name", "place"}
        for probe in request.get("probes", []):
            statistics |= set(probe.get("statistics", []))
    assert set(model.operations) == operations
    assert set(map(statistic_pb2.Statistic.Name, model.statistics)) == statistics


def test_zeroed_keys_attend_uniformly(run):
    result = run("01-zero-k-head")
    tokens = length(result)
    pattern = result.capture("pattern of head 2", layer=5)
    uniform = np.tril(np.ones((tokens, tokens))) / np.arange(1, tokens + 1)[:, None]
    assert pattern.shape == (1, tokens, tokens)
    np.testing.assert_allclose(pattern[0], uniform, atol=1e-6)
    clean = result.capture("pattern of head 2", layer=5, clean=True)
    assert np.abs(clean[0] - uniform).max() > 0.01, "the head attends uniformly by itself"
    entropy = result.statistic("entropy by head", "entropy", layer=5)
    assert entropy.shape == (N_HEAD,)
    assert entropy[2] == pytest.approx(np.log(np.arange(1, tokens + 1)).mean(), rel=1e-5)


def test_zeroed_keys_said_as_columns_give_the_same_bits(run, d_model):
    head_width = d_model // N_HEAD
    columns = (d_model + 2 * head_width, d_model + 3 * head_width)
    assert columns == (112, 120), "the columns in 01b are those of the model that ships"
    assert stream.numbers(run("01-zero-k-head")) == stream.numbers(run("01b-zero-qkv-columns"))


def test_noise_shows_at_its_layer_and_after_it(run, d_model):
    result = run("02-noise-neurons")
    before, after = (
        result.statistic(f"neurons {moment}", "mean", layer=6) for moment in ("before", "after")
    )
    assert abs(before) < 1 and 4.5 < after < 6, "half of the neurons have mean 10"
    distance = [result.statistic("block output", "relative_l2", layer=layer) for layer in LAYERS]
    assert [layer for layer in LAYERS if distance[layer] > 0] == list(range(6, N_LAYER))
    assert result.reports[0].elements_selected == length(result) * 4 * d_model // 2


@pytest.mark.parametrize("name, factor", [("03-scale-block-down", 0.1), ("04-scale-block-up", 10)])
def test_scaled_block_is_scaled_and_later_ones_differ(run, name, factor):
    result = run(name)
    edited, clean = (
        np.array(
            [result.statistic("block output", "std", layer=layer, clean=clean) for layer in LAYERS]
        )
        for clean in (False, True)
    )
    np.testing.assert_array_equal(edited[:9], clean[:9])
    assert edited[9] == pytest.approx(factor * clean[9], rel=1e-5)
    assert (edited[10:] != clean[10:]).all()


@pytest.mark.parametrize(
    "name, elements", [("05-block-output-tuple", 1), ("05b-block-output-tuple-attentions", 2)]
)
def test_block_output_tuple(run, d_model, name, elements):
    result = run(name)
    tokens = length(result)
    (output,) = result.block_outputs
    assert output.layer == 9 and list(output.prompts) == [0] and not output.clean
    found = result.block_output(9)
    assert len(found) == elements == len(result.tensors)
    assert found[0].shape == (1, tokens, d_model)
    np.testing.assert_array_equal(found[0], run("05-block-output-tuple").block_output(9)[0])
    if elements == 2:
        attentions = found[1]
        assert attentions.shape == (1, N_HEAD, tokens, tokens)
        np.testing.assert_allclose(attentions.sum(-1), 1, atol=1e-5)
        assert not np.triu(attentions, 1).any()


def test_std_by_layer(run):
    result = run("06-std-by-layer")
    for prompt in (0, 1):
        edited, clean = (
            np.array(
                [result.statistic("block output", "std", layer, prompt, clean) for layer in LAYERS]
            )
            for clean in (False, True)
        )
        assert list(np.nonzero(edited != clean)[0]) == list(range(3, N_LAYER))


def test_patching_moves_the_patched_prompt_only(run):
    result = run("07-activation-patching")
    bits = {
        (entry.prompt, entry.clean): entry.positions[0].SerializeToString()
        for entry in result.top_logits
    }
    assert bits[0, False] == bits[0, True], "nothing was done to the first prompt"
    assert bits[1, False] != bits[1, True]


def test_causal_tracing_restores_the_position(run):
    result = run("07b-causal-tracing")
    distance = [
        result.statistic("distance from the clean run", "relative_l2", layer=layer)
        for layer in LAYERS
    ]
    assert distance[0].shape == (length(result),)
    assert not any(values[0] for values in distance), "a position before the noise moved"
    assert distance[0][1] > 0 and distance[1][1] > 0
    assert distance[2][1] == 0, "the clean value was put back"
    assert distance[2][2] > 0, "what later positions read earlier stays"


def test_path_patching_changes_what_the_receiver_leads_to(run):
    """The prompt itself, and no run that was clean; the head's keys are that of no whole prompt."""
    result = run("07c-path-patching")
    last = {(entry.prompt, entry.clean): entry.positions[0] for entry in result.top_logits}
    logits = {which: {t.token: t.logit for t in at.tokens} for which, at in last.items()}
    assert logits[0, True] == logits[2, True]
    assert logits[0, False][" Mary"] < logits[0, True][" Mary"] - 0.1
    assert logits[0, False] not in (logits[1, False], logits[2, False])
    assert logits[1, False] == logits[1, True]


def test_knockout_renormalises_the_row(run):
    result = run("08-knockout")
    edited, clean = (
        result.capture("last row of the pattern", layer=11, clean=clean) for clean in (False, True)
    )
    assert edited.shape == clean.shape == (N_HEAD, 1, length(result))
    assert not edited[:, 0, 1].any() and (clean[:, 0, 1] > 0).all()
    np.testing.assert_allclose(edited.sum(-1), 1, atol=1e-5)
    assert result.reports[0].sites_touched == N_LAYER


def test_steering_acts_from_its_layer_on(run):
    result = run("09-steering")
    for clean in (False, True):
        distance = [
            result.statistic("distance from the clean run", "relative_l2", layer, clean=clean)
            for layer in LAYERS
        ]
        moved = [] if clean else list(range(6, N_LAYER))
        assert [layer for layer in LAYERS if distance[layer] > 0] == moved
    (report,) = result.reports
    assert report.max_abs_change == pytest.approx(2, rel=1e-4)
    assert report.elements_selected == 4 * length(result)


def test_mean_ablation_counts_what_it_touched(run, d_model):
    result = run("10-mean-ablation")
    (report,) = result.reports
    assert report.sites_touched == 2
    assert report.elements_selected == 2 * length(result) * 3 * d_model // N_HEAD


def test_projected_out_direction_is_gone(run):
    result = run("11-project-out")
    direction = np.array([1, -1, 1, -1]) / 2
    before, after = (result.capture(name, layer=7) for name in ("before", "after"))
    tolerance = 1e-5 * np.abs(before).max()
    assert np.abs(before @ direction).max() > 1e-3
    np.testing.assert_allclose(after @ direction, 0, atol=tolerance)
    np.testing.assert_allclose(
        after, before - np.outer(before @ direction, direction), atol=tolerance
    )


def test_zeroed_z_switches_the_head_off(run, d_model):
    result = run("12-causal-head-zero-z")
    edited, clean = (
        result.capture("what the heads write", layer=9, clean=clean) for clean in (False, True)
    )
    assert edited.shape == clean.shape == (1, 2, d_model)
    assert not edited[0, 0].any() and clean[0, 0].any()
    np.testing.assert_array_equal(edited[0, 1], clean[0, 1])


def test_histogram_counts_every_neuron_before_the_clamp(run, d_model):
    result = run("13-clamp-neurons")
    (report,) = result.reports
    assert report.sites_touched == N_LAYER
    clipped = 0
    for layer in LAYERS:
        histogram = result.probe("neurons", layer).histogram
        assert len(histogram.counts) == 8
        counted = sum(histogram.counts) + sum(histogram.below) + sum(histogram.above)
        assert counted == 4 * d_model * length(result)
        clipped += sum(histogram.counts[3:]) + sum(histogram.above)  # from 0.5 up
    assert clipped == report.elements_changed


def test_one_neuron_moves_the_logits(run):
    result = run("14-set-neuron")
    assert result.top_tokens() != result.top_tokens(clean=True)
    assert result.reports[0].elements_selected == length(result)


def test_names_of_other_libraries_resolve(run):
    interventions = run("15-names-of-other-libraries").started.normalized.interventions
    places = [intervention.place for intervention in interventions]
    assert [list(place.where.layers) for place in places] == [[3], [4]]
    assert all(place.site and not place.path for place in places)
    assert list(places[0].where.heads) == [1]


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_agree_with_each_other(run, layer):
    result = run("16-every-statistic")

    def value(statistic):
        return float(result.statistic("everything", statistic, layer).item())

    everything = result.probe("everything", layer)
    histogram = everything.histogram
    elements = sum(histogram.counts) + histogram.below[0] + histogram.above[0]
    assert value("variance") == pytest.approx(value("std") ** 2)
    assert value("l2_norm") == pytest.approx(value("rms") * elements**0.5)
    assert value("abs_max") == max(-value("min"), value("max"))
    quantiles = [entry.values[0] for entry in everything.quantiles]
    assert [entry.quantile for entry in everything.quantiles] == [0.05, 0.5, 0.95]
    assert value("min") <= quantiles[0] < quantiles[1] < quantiles[2] <= value("max")
    norms = result.statistic("norm by position", "l2_norm", layer)
    assert norms.shape == (length(result),)
    assert value("mean_l2_norm") == pytest.approx(norms.mean())
    assert result.statistic("attention by head", "entropy", layer).shape == (N_HEAD,)


def test_probe_of_a_site_without_layers(run):
    result = run("16-every-statistic").probe("LayerNorm scale")
    assert not result.HasField("layer") and result.statistics[0].values[0] > 0


@pytest.mark.parametrize("prompt", [0, 1])
def test_hidden_states_and_full_logits(run, client, d_model, prompt):
    vocab_size = client.model().config.vocab_size
    result = run("17-hidden-states-and-logits")
    hidden = result.hidden_states(prompt)
    assert len(hidden) == N_LAYER + 1
    assert {states.shape for states in hidden} == {(length(result, prompt), d_model)}
    np.testing.assert_array_equal(hidden[1], result.block_output(0, prompt)[0][0])
    final = result.block_output(11, prompt)[0][0]
    assert (hidden[-1] != final).any(), "the last entry is after the final LayerNorm"
    assert result.logits(prompt).shape == (2, vocab_size)
    assert {tensor.header.dtype for tensor in result.tensors} == {tensor_pb2.DATA_TYPE_FLOAT16}
    assert not result.top_logits


def test_validate_only_answers_with_one_event(server):
    answer = grpcurl.call(server.address, "Run", (EXAMPLES / "18-validate-only.json").read_bytes())
    (event,) = stream.from_json(answer.messages)
    started = event.message
    (intervention,), (probe,) = started.normalized.interventions, started.normalized.probes
    assert list(intervention.place.where.heads) == [N_HEAD - 1]
    assert list(intervention.place.where.layers) == list(LAYERS)
    assert (intervention.name, probe.name) == ("zero[0]", "pattern[0]")
    assert started.cost.tokens == len(started.prompts[0].ids) > 0
    assert len(started.digest) == 64


def test_normalized_request_is_the_same_request(server, run):
    """Posting what the server understood gives the same digest and the same numbers."""
    first = run("16-every-statistic")
    again = grpcurl.call(server.address, "Run", json_format.MessageToJson(first.started.normalized))
    second = stream.checked(stream.from_json(again.messages))
    assert second.started.digest == first.started.digest
    assert stream.numbers(second) == stream.numbers(first)
