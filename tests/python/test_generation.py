"""Generations as data: what is asked, and what is made of an answer. No server takes part."""

import inspect

import numpy as np
import pytest

from scalpel import capture, generation, noise, patch, probe
from scalpel.arguments import Arguments
from scalpel.v1 import generate_pb2, tensor_pb2
from tests.python import generations
from tests.python.generations import (
    STEER,
    TEXTS,
    TWINS,
    observed,
    request_of,
    result_of,
)

MESSAGES = {
    "model", "validate_only",  # Set by `connect`, and by `validate_generate`.
}  # fmt: skip


# ---- what is asked -------------------------------------------------------------------------------


def test_every_option_is_reached():
    request = request_of(
        ["a", [1, 2]], [STEER, noise("embed")], max_new_tokens=20, min_new_tokens=0, stop="\n",
        stop_ids=[13, 30], ignore_eos=True, sample=True, temperature=0.7, top_k=50, top_p=0.9,
        min_p=0.0, repetition_penalty=1.2, seed=0, continuations=3, unsteered=True,
        reuse_kv="clean_prompt", stats={"resid_post": "std"}, capture="z", logits=3,
        allow_non_finite=True,
    )  # fmt: skip
    assert request == generate_pb2.GenerateRequest(
        prompts=[{"text": "a"}, {"token_ids": {"ids": [1, 2]}}],
        interventions=[STEER.proto, noise("embed").proto],
        probes=[probe("resid_post", "std").proto],
        captures=[capture("z").proto],
        logits={"top_k": {"k": 3}},
        sampling={
            "sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0,
            "repetition_penalty": 1.2,
        },
        stop={
            "max_new_tokens": 20, "min_new_tokens": 0, "ids": [13, 30], "ignore_eos": True,
            "strings": ["\n"],
        },
        continuations=3, unsteered=True, reuse_kv="KV_REUSE_CLEAN_PROMPT", seed=0,
        allow_non_finite=True,
    )  # fmt: skip
    for message in (request, request.sampling, request.stop):
        missing = {field.name for field in message.DESCRIPTOR.fields} - MESSAGES
        assert missing == {field.name for field, _ in message.ListFields()}


def test_what_is_left_out_stays_left_out():
    """The server has the presets, and refuses where something required is missing."""
    assert request_of("a") == generate_pb2.GenerateRequest(
        prompts=[{"text": "a"}], stop={"max_new_tokens": 8}
    )
    assert not request_of("a", max_new_tokens=None).stop.HasField("max_new_tokens")


@pytest.mark.parametrize(
    "stop, stop_ids", [(["a", "b"], 13), (("a", "b"), np.array([13])), (iter("ab"), [13])]
)
def test_stops_are_one_or_several(stop, stop_ids):
    found = request_of("a", stop=stop, stop_ids=stop_ids).stop
    assert (list(found.strings), list(found.ids)) == (["a", "b"], [13])


@pytest.mark.parametrize("wrong, kind, error", [
    ({"reuse_kv": "clean"}, ValueError,
     "reuse_kv: 'clean' is not one of intervened, clean_prompt, recompute_all"),
    ({"stop_ids": [True]}, TypeError, "stop_ids"),
    ({"stats": ["std"]}, TypeError, "stats: 'std'"),
    ({"logits": True}, TypeError, "logits: "),
    ({"interventions": patch("k", from_source=0)}, TypeError, "from_source is for sweeps"),
])  # fmt: skip
def test_what_cannot_be_said_is_refused_before_it_is_sent(wrong, kind, error):
    with pytest.raises(kind, match=error):
        request_of("a", **wrong)


def test_the_length_has_no_preset():
    with pytest.raises(TypeError, match="max_new_tokens"):
        generation.generate("a")


@pytest.mark.parametrize("field, argument", [
    ("prompts[1].text", "prompts[1]"),
    ("interventions[0].place.where.steps.end", "interventions.steps"),
    ("interventions[0].scale.factor", "interventions.factor"),
    ("captures[0].place.where.steps", "capture.steps"),  # Where they are left out, and needed.
    ("stop.max_new_tokens", "max_new_tokens"),
    ("stop.strings[1]", "stop[1]"),
    ("stop.ids[0]", "stop_ids[0]"),
    ("sampling.top_p", "top_p"),
    ("sampling.repetition_penalty", "repetition_penalty"),
    ("reuse_kv", "reuse_kv"),
    ("logits.positions", "logits"),
])  # fmt: skip
def test_fields_are_said_as_arguments(field, argument):
    call = generation.generate(
        ["a", "b"], STEER, max_new_tokens=8, stats={"resid_post": "std"}, logits=3, capture="z"
    )
    assert call.arguments.find(field).path == argument


def test_every_field_of_the_parts_is_known_to_errors():
    arguments = generation.generate("a", max_new_tokens=8).arguments
    named = set(inspect.signature(generation.generate).parameters)
    for part in (generate_pb2.Stop, generate_pb2.Sampling):
        for field in part.DESCRIPTOR.fields:
            path = f"{part.DESCRIPTOR.name.lower()}.{field.name}"
            assert arguments.find(path).path in named, path
    assert Arguments().find("stop.ids").path == "stop.ids"


# ---- texts ---------------------------------------------------------------------------------------


def test_a_stream_is_its_tokens():
    result = result_of(generations.whole(TEXTS[:1]))
    (stream,) = result.streams
    assert result.text == stream.text == " of France is" and result.texts == (stream.text,)
    assert stream.tokens == (" of", " France", " is")
    assert stream.ids == tuple(map(generations.id_of, TEXTS[0]))
    assert stream.finish_reason == "length" and not stream.unsteered
    np.testing.assert_array_equal(stream.log_probs, [-0.5] * 3)
    np.testing.assert_array_equal(stream.sampling_log_probs, [-0.25] * 3)
    assert stream.generated[1].prob == pytest.approx(np.exp(-0.5))
    assert result.pairs == () and result.reports[0].elements_changed == 5
    assert result.prompts[0].tokens == generations.PROMPT_TOKENS
    assert result.kv_bytes == 4096 and result.finished.new_tokens == 3


def test_a_stream_is_beside_its_twin():
    result = result_of(generations.whole(TEXTS, TWINS), unsteered=True)
    (pair,) = result.pairs
    assert (pair.steered.text, pair.unsteered.text) == (" of France is", " of Spain is")
    assert pair.first_difference == 1 and pair.changed == (False, True, False)
    assert result.text == " of France is", "twins are not counted"
    assert result.stream(unsteered=True) is pair.unsteered


@pytest.mark.parametrize("mine, theirs, first", [
    (["a", "b"], ["a", "b"], None),
    (["a", "b"], ["c", "b"], 0),
    (["a"], ["a", "b"], 1),
    (["a", "b"], ["a"], 1),
])  # fmt: skip
def test_the_first_difference(mine, theirs, first):
    result = result_of(generations.whole([mine, theirs], TWINS))
    assert result.pairs[0].first_difference == first


def test_a_text_of_several_must_be_chosen():
    result = result_of(generations.whole(TEXTS))
    assert result.texts == (" of France is", " of Spain is")
    assert result.stream(0, 1).text == " of Spain is"
    with pytest.raises(LookupError, match="2 streams"):
        _ = result.text
    with pytest.raises(LookupError, match="no unsteered stream of prompt 0, continuation 1"):
        result.stream(continuation=1, unsteered=True)


def test_a_stop_string_is_not_part_of_the_text():
    end = generations.stream_finished(
        0, ["a", "b"], generate_pb2.FINISH_REASON_STOP_STRING, text="a", stop_string="b"
    )
    tokens = [generations.token(0, 0, "a"), generations.token(0, 1, "b")]
    first = generations.started([(0, 0, False)])
    result = result_of([first, *tokens, end, generations.finished(2)])
    (stream,) = result.streams
    assert (stream.text, stream.stop_string) == ("a", "b") and stream.finish_reason == "stop_string"
    assert stream.tokens == ("a", "b")


def test_tokens_as_a_table():
    table = result_of(generations.whole(TEXTS, TWINS)).to_pandas()
    assert list(table.columns) == [
        "prompt", "continuation", "unsteered", "step", "token_id", "token", "text", "log_prob",
        "sampling_log_prob",
    ]  # fmt: skip
    assert len(table) == 6 and list(table[table.unsteered].token) == TEXTS[1]
    assert list(table.step) == [0, 1, 2] * 2


# ---- what was observed ---------------------------------------------------------------------------


def test_statistics_have_steps_first():
    events = [*generations.statistics(0, 0, 1.0), *generations.statistics(0, 1, 5.0)]
    stream = observed(*events).stream()
    np.testing.assert_array_equal(stream.stat("resid_post", "std"), [[1, 2], [5, 6]])
    np.testing.assert_array_equal(stream.stat("resid_post", "std", step=1), [5, 6])
    np.testing.assert_array_equal(stream.stat("resid_post[0]", "std", layer=1), [2, 6])
    assert stream.stat_steps("resid_post") == stream.stat_steps() == (0, 1)
    assert len(stream.stats(0)) == 2
    with pytest.raises(LookupError, match="no step 2; the last is 1"):
        stream.stats(2)


def test_steps_that_were_not_asked_are_not_there():
    stream = observed(*generations.statistics(0, 1, 5.0)).stream()
    assert stream.stat_steps("resid_post") == (1,)
    np.testing.assert_array_equal(stream.stat("resid_post", "std"), [[5, 6]])
    with pytest.raises(LookupError):
        stream.stat("resid_post", "std", step=0)
    with pytest.raises(LookupError, match="no step has"):
        observed().stream().stat("resid_post", "std")


def test_twins_are_told_apart():
    events = [*generations.statistics(0, 0, 1.0), *generations.statistics(1, 0, 7.0)]
    result = observed(*events, streams=TWINS, texts=[["a"], ["b"]])
    assert result.stream().stat("resid_post", "std")[0, 0] == 1
    assert result.stream(unsteered=True).stat("resid_post", "std")[0, 0] == 7
    table = result.stats_to_pandas()
    assert list(table.columns)[:4] == ["prompt", "continuation", "unsteered", "step"]
    assert list(table[table.unsteered].value) == [7, 8] and "clean" not in table.columns


def test_continuations_share_step_0():
    streams = [(0, 0, False), (0, 1, False), (1, 0, False)]
    events = [
        *generations.statistics(0, 0, 1.0),
        *generations.statistics(2, 0, 9.0),
        *generations.statistics(1, 1, 5.0),
        generations.logits(0, 0, " of", " is"),
    ]
    result = observed(*events, streams=streams, texts=[["a"], ["b", "c"], ["d"]])
    np.testing.assert_array_equal(result.stream(0, 1).stat("resid_post", "std"), [[1, 2], [5, 6]])
    np.testing.assert_array_equal(result.stream(1, 0).stat("resid_post", "std"), [[9, 10]])
    assert result.stream(0, 1).top(0) == result.stream(0, 0).top(0)
    assert result.stream(0, 1).top(0)[0].token == " of"
    with pytest.raises(LookupError, match="step 0"):
        result.stream(1, 0).top(0)


def test_captures_have_steps_first():
    one, other = np.ones((1, 4)), np.full((1, 4), 2.0)
    stream = observed(
        generations.tensor(0, 0, one), generations.tensor(0, 1, other), capture="resid_post"
    ).stream()
    np.testing.assert_array_equal(stream.capture("resid_post"), np.stack([one, other]))
    np.testing.assert_array_equal(stream.capture("resid_post", step=1), other)
    (tensor,) = stream.tensors("resid_post", 1)
    assert tensor.axes == ("position", "unit") and tensor.prompts == (0,)


def test_captures_of_different_shapes_are_asked_one_by_one():
    prompt, new = np.ones((3, 4)), np.ones((1, 4))
    stream = observed(
        generations.tensor(0, 0, prompt), generations.tensor(0, 1, new), capture="resid_post"
    ).stream()
    with pytest.raises(LookupError, match=r"\(1, 4\) and \(3, 4\).*step="):
        stream.capture("resid_post")
    assert stream.capture("resid_post", step=0).shape == (3, 4)


def test_full_logits_are_a_matrix():
    kind = {"kind": tensor_pb2.TENSOR_KIND_LOGITS, "name": "logits"}
    events = [generations.tensor(0, step, [[step, 2.0, 3.0]], **kind) for step in (0, 1)]
    stream = observed(*events).stream()
    np.testing.assert_array_equal(stream.logits(), [[0, 2, 3], [1, 2, 3]])
    with pytest.raises(LookupError, match="logits='full'"):
        observed().stream().logits()


def test_a_step_without_a_token_is_still_observed():
    """A logit was NaN: the step's statistics say where it came from."""
    end = generations.stream_finished(0, ["a"], generate_pb2.FINISH_REASON_NON_FINITE)
    request = request_of("The capital", stats={"resid_post": "std"})
    events = [
        generations.started([(0, 0, False)], request),
        generations.token(0, 0, "a"),
        *generations.statistics(0, 1, np.nan),
        end,
        generations.finished(1),
    ]
    (stream,) = result_of(events, stats={"resid_post": "std"}).streams
    assert stream.finish_reason == "non_finite" and stream.stat_steps() == (1,)
    assert np.isnan(stream.stat("resid_post", "std", step=1)).all()
