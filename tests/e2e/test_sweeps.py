"""Sweeps: the example files through grpcurl, the order of the stream, and the command line."""

import json
import math
import re
import subprocess
import time

import numpy as np
import pytest
from google.protobuf import json_format

from scalpel.v1 import sweep_pb2
from tests.e2e import grpcurl
from tests.support import environment
from tests.support.client import Client, Event, SweepResult

FILES = [path.stem for path in environment.examples("sweep")]
N_LAYER, N_HEAD = 12, 12
PROMPT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
OK, REFUSED, USAGE, DEADLINE = 0, 1, 2, 4
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 3, 4, 8


def from_json(messages):
    """The result of messages in protobuf's JSON form; fields that the contract lacks are errors."""
    events = []
    for message in messages:
        response = json_format.ParseDict(message, sweep_pb2.SweepResponse())
        kind = response.WhichOneof("event")
        assert kind, f"an event without content: {message}"
        events.append(Event(kind, getattr(response, kind), 0.0))
    return checked(SweepResult(events))


def checked(result):
    """Checks everything that holds of every complete sweep."""
    kinds = [event.kind for event in result.events]
    assert kinds[:2] == ["started", "clean"] and kinds[-1] == "finished"
    assert set(kinds[2:-1]) <= {"variant", "progress"}
    total = result.started.variants
    assert sorted(result.variants) == list(range(total)) and kinds.count("variant") == total
    shape = [len(axis.labels) for axis in result.started.axes]
    for variant in result.variants.values():
        assert list(variant.coordinates) == (
            list(np.unravel_index(variant.index, shape)) if shape else []
        )
    done = [event.message.done for event in result.events if event.kind == "progress"]
    assert done == sorted(done) and all(0 < count < total for count in done)
    cost, finished = result.started.cost, result.finished
    assert finished.variants == total
    # What variants share with their clean runs need not be computed again.
    assert 0 < finished.tokens_computed <= cost.tokens
    assert cost.response_bytes >= sum(event.message.ByteSize() for event in result.events)
    return result


@pytest.fixture(scope="module")
def sweep(server):
    """Posts an example, once however many tests look at it."""
    answers = {}

    def once(name):
        if name not in answers:
            data = (environment.EXAMPLES / f"{name}.json").read_bytes()
            answer = grpcurl.call(server.address, "Sweep", data)
            assert answer.code == 0, answer.stderr
            answers[name] = from_json(answer.messages)
        return answers[name]

    return once


def grid(*axes, **intervention):
    intervention = intervention or {"zero": {}}
    return {
        "prompts": [{"text": PROMPT}],
        "grid": {
            "interventions": [{"place": {"site": "SITE_Z"}, **intervention}],
            "axes": list(axes),
        },
        "metrics": [{"kl_from_clean": {}}],
    }


# ---- the examples --------------------------------------------------------------------------------


def test_there_is_an_example_of_each_experiment():
    assert FILES == ["19-sweep-heads", "20-sweep-patch-positions", "21-sweep-dose-response"]


def test_heads(sweep):
    """One of 144 heads at a time is off: some matter, most hardly do."""
    result = sweep("19-sweep-heads")
    diff, kl = result.matrix("Mary over John"), result.matrix("KL from clean")
    assert diff.shape == kl.shape == (N_LAYER, N_HEAD)
    (clean,) = result.clean_values("Mary over John")
    assert clean > 5, "the model does not know the answer by itself"
    moved = np.abs(diff - clean)
    assert moved.max() > 1 and np.median(moved) < 0.5
    assert kl.min() >= 0 and kl.max() > 0.1
    assert [axis.name for axis in result.started.axes] == ["layer", "head"]


def test_patch_over_layers_and_positions(sweep):
    """The name that the source has is read at its own position first, and at the last one later."""
    result = sweep("20-sweep-patch-positions")
    score = result.matrix("from Mary to John")
    tokens = list(result.started.prompts[0].tokens)
    assert score.shape == (N_LAYER, len(tokens))
    labels = list(result.started.axes[1].labels)
    assert labels == [f'{i} "{token}"' for i, token in enumerate(tokens)]
    subject = 9
    assert tokens[subject] == " John" and list(result.started.prompts[1].tokens)[subject] == " Mary"
    assert score[0, subject] == 1, "all that differs is patched"
    np.testing.assert_array_equal(score[:, :subject], 0)  # the same tokens so far
    assert score[-1, -1] > 0.5 > score[-1, subject]
    base, source = result.clean_values("from Mary to John")
    assert base < 0 < source


def test_dose_response(sweep):
    """A factor of 1 changes nothing; others do, and show in the blocks behind."""
    result = sweep("21-sweep-dose-response")
    (axis,) = result.started.axes
    assert axis.name == "factor"
    one = list(axis.labels).index("1")
    kl, probability = result.matrix("KL from clean"), result.matrix("Mary")
    assert kl[one] == 0 and probability[one] == result.clean_values("Mary")[0] > 0.9
    assert kl[0] > 1 and probability[0] < 0.5
    for index, variant in result.variants.items():
        factor = float(axis.labels[index])
        (report,) = variant.reports
        assert (report.elements_changed == 0) == (factor == 1)
        stds = {entry.layer: entry.statistics[0].values[0] for entry in variant.statistics}
        clean = {entry.layer: entry.statistics[0].values[0] for entry in result.clean.statistics}
        assert [stds[layer] for layer in range(9)] == [clean[layer] for layer in range(9)]
        assert stds[9] == pytest.approx(factor * clean[9], rel=1e-5)
        (top,) = (metric for metric in variant.metrics if metric.name == "top 3")
        assert len(top.tokens) == 3 and not top.values


# ---- the stream ----------------------------------------------------------------------------------


def test_variants_arrive_while_others_are_still_computed(client):
    """A reader sees results, and how far the sweep is, long before its end."""
    request = grid({"layers": {}}, {"heads": {}}, {"positions": {}})
    request["prompts"] *= 4  # so that its computation is long beside its validation
    result = checked(client.sweep(request))
    arrivals = [event.at for event in result.events if event.kind == "variant"]
    assert len(arrivals) == N_LAYER * N_HEAD * 14
    assert arrivals[0] < result.events[-1].at / 4
    assert any(event.kind == "progress" for event in result.events)


def test_a_list_of_variants(client):
    """Named, and each with interventions of its own; one without any is the clean run."""
    request = {
        "prompts": [{"text": PROMPT}, {"text": "The capital of France is"}],
        "variants": {
            "variants": [
                {"name": "clean"},
                {"interventions": [{"place": {"path": "blocks.3.attn.hook_k"}, "zero": {}}]},
            ]
        },
        "metrics": [{"name": "kl", "kl_from_clean": {}}, {"name": "agree", "top1_agreement": {}}],
    }
    result = checked(client.sweep(request))
    assert [result.variants[i].name for i in range(2)] == ["clean", "variants[1]"]
    for prompt in range(2):
        assert result.values(0, "kl", prompt) == 0 and result.values(0, "agree", prompt) == 1
        assert result.values(1, "kl", prompt) > 0


def test_validate_only_is_one_event(server):
    request = {**grid({"layers": {}}), "validate_only": True}
    answer = grpcurl.call(server.address, "Sweep", request)
    assert answer.code == OK
    (message,) = answer.messages
    assert message["started"]["variants"] == N_LAYER
    assert message["started"]["cost"]["rows"] == N_LAYER + 1


def test_violations_name_axes_and_cells(server):
    request = grid({"layers": {"values": [12]}}, {"name": "x", "heads": {}}, {"name": "x"})
    request["metrics"] = [{"logit_diff": {"target_texts": [" Mary Ann"], "distractors": [99999]}}]
    answer = grpcurl.call(server.address, "Sweep", request)
    assert answer.code == INVALID_ARGUMENT and not answer.messages
    (bad,) = answer.details("BadRequest")
    assert {entry["field"] for entry in bad["field_violations"]} == {
        "grid.axes[0].layers.values[0]",
        "grid.axes[2]",
        "metrics[0].logit_diff.target_texts[0]",
        "metrics[0].logit_diff.distractors[0]",
    }


def test_the_response_is_bounded_before_anything_runs(server):
    request = grid({"layers": {}}, {"heads": {}}, {"positions": {}})
    request["metrics"] = [{"name": f"m{i}", "top_k": {"k": 1000}} for i in range(10)]
    answer = grpcurl.call(server.address, "Sweep", request)
    assert answer.code == RESOURCE_EXHAUSTED and not answer.messages
    (quota,) = answer.details("QuotaFailure")
    assert quota["violations"][0]["subject"] == "limits.max_response_bytes"
    assert not answer.details("RetryInfo")


def endless():
    """A sweep that nobody waits for: long prompts, edited in the first layer."""
    rows = [[(17 * row + 5 * i) % 1000 for i in range(256)] for row in range(8)]
    request = grid({"heads": {}}, {"values": {"values": [i / 500 for i in range(500)]}}, scale={})
    request["grid"]["interventions"][0]["place"]["where"] = {"layers": [0]}
    return {**request, "prompts": [{"token_ids": {"ids": row}} for row in rows]}


def test_deadline_ends_a_sweep_between_variants(server):
    answer = grpcurl.call(server.address, "Sweep", endless(), options=["-max-time", "6"])
    assert answer.code == DEADLINE_EXCEEDED
    assert any("variant" in message for message in answer.messages), "what came is kept"
    assert grpcurl.call(server.address, "Sweep", grid({"layers": {}})).code == OK


def test_cancel_frees_the_engine(client):
    request = json_format.ParseDict(endless(), sweep_pb2.SweepRequest())
    call = client.stub.Sweep(request)
    for response in call:
        if response.HasField("variant"):
            break
    call.cancel()
    begin = time.monotonic()
    client.run({"prompts": [{"text": PROMPT}]})
    assert time.monotonic() - begin < 3


def test_a_run_is_answered_while_a_sweep_goes_on(client):
    request = json_format.ParseDict(endless(), sweep_pb2.SweepRequest())
    call = client.stub.Sweep(request)
    assert next(call).HasField("started")
    try:
        begin = time.monotonic()
        client.run({"prompts": [{"text": PROMPT}]})
        assert time.monotonic() - begin < 10  # of the minutes that the sweep takes
    finally:
        call.cancel()


def test_a_reader_that_never_reads_holds_nobody_up(server, client):
    """The results wait where they were reserved."""
    request = json_format.ParseDict(
        grid({"layers": {}}, {"heads": {}}, {"positions": {}}), sweep_pb2.SweepRequest()
    )
    with Client(server.address) as idle:
        call = idle.stub.Sweep(request)
        client.run({"prompts": [{"text": PROMPT}]})
        call.cancel()


# ---- the command line ----------------------------------------------------------------------------


def cli(server, *arguments, data=None):
    line = [str(environment.cli_binary()), "sweep", *arguments, "--server", server.address]
    return subprocess.run(
        line, capture_output=True, text=True, input=data, timeout=120, check=False
    )


@pytest.mark.parametrize("name", FILES)
def test_every_example_is_drawn(server, name):
    done = cli(server, str(environment.EXAMPLES / f"{name}.json"))
    assert done.returncode == OK, done.stderr
    assert done.stdout and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout, "colours without a terminal"


def test_a_heat_map_of_heads(server):
    done = cli(
        server, PROMPT, "--zero", "Z", "--over", "layers", "--over", "heads",
        "--logit-diff", " Mary", " John",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    cells = {row[0]: row[1:] for row in rows if len(row) == 1 + N_HEAD and row[0].isdigit()}
    assert list(cells) == [str(layer) for layer in range(N_LAYER)]
    digits = {cell for row in cells.values() for cell in row}
    assert digits <= set("0123456789") and {"0", "9"} <= digits
    assert 'logit " Mary" - " John"  clean ' in done.stdout
    assert "furthest from clean" in done.stdout


def test_a_heat_map_with_tokens_as_labels(server):
    done = cli(
        server, PROMPT, "--source", OTHER, "--patch", "resid_pre", "--over", "layers",
        "--over", "positions", "--score", " John", " Mary",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    assert re.search(r'^ *9 " John" +9  9 ', done.stdout, re.MULTILINE), done.stdout
    assert "0 is clean (" in done.stdout and "1 is the source (" in done.stdout


def test_a_dose_response(server):
    done = cli(
        server, PROMPT, "--scale", "resid_post:layer=9", "--over", "values=0,0.1,1,10",
        "--probe", "resid_post:std", "--prob", " Mary",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    labels = [line.split()[0] for line in done.stdout.splitlines() if "█" in line or "▏" in line]
    assert {"1", "10"} <= set(labels)
    assert "std of resid_post[0]" in done.stdout


def test_json_is_the_stream_one_event_a_line(server):
    done = cli(server, str(environment.EXAMPLES / "19-sweep-heads.json"), "--json")
    assert done.returncode == OK, done.stderr
    from_json(map(json.loads, done.stdout.splitlines()))


def test_exit_codes(server):
    assert cli(server, PROMPT, "--zero", "Z").returncode == REFUSED
    refused = cli(server, PROMPT, "--zero", "Z", "--over", "layers=12")
    assert refused.returncode == REFUSED
    assert "  grid.axes[0].layers.values[0]: " in refused.stderr
    assert cli(server, PROMPT, "--over", "neurons").returncode == USAGE
    assert cli(server, "no-such-file.json").returncode == USAGE
    late = cli(server, "-", "--deadline", "1", data=json.dumps(endless()))
    assert late.returncode == DEADLINE


def test_scores_are_not_a_number_where_nothing_differs(client):
    """A source that is the prompt itself."""
    request = {
        **grid({"layers": {"values": [0]}}),
        "sources": [{"text": PROMPT}],
        "metrics": [{"patching_score": {"target_texts": [" Mary"], "distractor_texts": [" John"]}}],
    }
    result = client.sweep(request)
    ((metric, prompt),) = result.metrics_of_one_number()
    (value,) = result.matrix(metric, prompt)
    assert math.isinf(value) or math.isnan(value)
