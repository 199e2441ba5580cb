"""Generations of a real server: against the naive loops that the contract says they equal, each of
them made of runs; and how they begin and end."""

import subprocess
import sys
import time

import numpy as np
import pytest

import scalpel
from scalpel import add, capture, noise, probe, scale, zero
from scalpel.generation_events import GeneratedToken, GenerationStarted
from tests.python.raw import OTHER, PROMPT
from tests.python.test_aio import with_model
from tests.support import environment

WAR = "The war lasted from the year 1732 to the year 17"
N = 6
FREE = {"max_new_tokens": N, "ignore_eos": True}
HEAD = {"layer": 9, "head": 6}
DIRECTION = 8 * np.random.default_rng(0).standard_normal(96).astype(np.float32)


def in_steps(steps, step):
    """Whether a step is among those that an intervention selects."""
    known = {"prompt": step == 0, "generated": step > 0, None: True}
    return known[steps] if isinstance(steps, str | None) else step in steps


def naive(model, prompt, make, steps, n=N, **options):
    """The loop of KV_REUSE_RECOMPUTE_ALL: one run for each token. Returns its runs, and the tokens
    that they give."""
    ids, runs = list(model.tokenize(prompt).ids), []
    start = len(ids)
    for step in range(n):
        edits = [make()] if in_steps(steps, step) else []
        runs.append(model.run([ids], edits, logits=3, **options))
        ids.append(runs[-1].top()[0].token_id)
    return runs, tuple(ids[start:])


# ---- the naive loops -----------------------------------------------------------------------------

EDITS = {
    "zero": lambda **where: zero("z", **HEAD, **where),
    "scale": lambda **where: scale("resid_post", 0.1, layer=9, **where),
    "steer the newest": lambda **where: add("resid_pre", DIRECTION, layer=6, position=-1, **where),
    "noise": lambda **where: noise("mlp_out", 1.0, layer=3, seed=5, **where),
}


@pytest.mark.parametrize("steps", [None, "prompt", "generated", range(2, 4)], ids=str)
@pytest.mark.parametrize("edit", EDITS)
def test_recompute_all_is_a_loop_of_runs(model, edit, steps):
    where = {} if steps is None else {"steps": steps}
    result = model.generate(PROMPT, EDITS[edit](**where), reuse_kv="recompute_all", **FREE)
    runs, ids = naive(model, PROMPT, EDITS[edit], steps)
    assert result.streams[0].ids == ids
    log_probs = np.array([run.top()[0].log_prob for run in runs])
    np.testing.assert_array_equal(result.streams[0].log_probs, log_probs)


@pytest.mark.parametrize("prompt", [PROMPT, WAR])
def test_without_interventions_nothing_is_recomputed_in_vain(model, prompt):
    """Keys and values that are kept are those that would be computed: to the bit."""
    _, ids = naive(model, prompt, lambda: None, ())
    kept = model.generate(prompt, **FREE)
    again = model.generate(prompt, reuse_kv="recompute_all", **FREE)
    assert kept.streams[0].ids == again.streams[0].ids == ids
    np.testing.assert_array_equal(kept.streams[0].log_probs, again.streams[0].log_probs)


def test_what_is_done_to_every_position_may_be_kept(model):
    """An edit that treats each position by itself, at every step: keeping equals recomputing."""
    edit = zero("z", **HEAD)
    kept = model.generate(PROMPT, edit, reuse_kv="intervened", **FREE)
    again = model.generate(PROMPT, edit, reuse_kv="recompute_all", **FREE)
    assert kept.streams[0].ids == again.streams[0].ids
    np.testing.assert_array_equal(kept.streams[0].log_probs, again.streams[0].log_probs)
    assert kept.finished.tokens_computed < again.finished.tokens_computed


def test_the_modes_differ_where_the_past_does(model):
    """The newest position alone is steered: what was steered before stays so only where it is
    kept."""
    edit = add("resid_pre", DIRECTION, layer=6, position=-1)
    log_probs = [
        model.generate(PROMPT, edit, reuse_kv=mode, **FREE).streams[0].log_probs
        for mode in ("intervened", "recompute_all")
    ]
    assert log_probs[0][0] == log_probs[1][0]
    assert (log_probs[0][1:] != log_probs[1][1:]).any()


def test_a_clean_prompt_gives_the_first_token(model):
    edit = scale("resid_post", 0.1, layer=9, steps="generated")
    result = model.generate(PROMPT, edit, reuse_kv="clean_prompt", unsteered=True, **FREE)
    (pair,) = result.pairs
    assert pair.first_difference is not None and pair.first_difference >= 1
    assert pair.steered.log_probs[0] == pair.unsteered.log_probs[0]


@pytest.mark.parametrize("mode", ["intervened", "recompute_all"])
def test_the_unsteered_is_the_text_without_edits(model, mode):
    edit = scale("resid_post", 0.1, layer=9)
    draw = {"sample": True, "temperature": 0.9, "seed": 3, "continuations": 2}
    result = model.generate([PROMPT, WAR], edit, reuse_kv=mode, unsteered=True, **draw, **FREE)
    plain = model.generate([PROMPT, WAR], **draw, **FREE)
    twins = [stream for stream in result.streams if stream.unsteered]
    assert [twin.ids for twin in twins] == [stream.ids for stream in plain.streams]
    for twin, stream in zip(twins, plain.streams, strict=True):
        np.testing.assert_array_equal(twin.log_probs, stream.log_probs)
    assert any(pair.first_difference is not None for pair in result.pairs)


# ---- what is observed ----------------------------------------------------------------------------


def test_what_is_observed_is_what_runs_observe(model):
    stats, seen = probe("resid_post", "std"), capture("z", layer=9, position=-1)
    edit = EDITS["steer the newest"]
    result = model.generate(
        PROMPT, edit(), reuse_kv="recompute_all", stats=stats, capture=seen, logits=3, **FREE
    )
    runs, _ = naive(model, PROMPT, edit, None, stats=stats, capture=seen)
    (stream,) = result.streams
    expected = np.stack([run.stat("resid_post", "std") for run in runs])
    np.testing.assert_array_equal(stream.stat("resid_post", "std"), expected)
    expected = np.stack([run.capture("z") for run in runs])
    np.testing.assert_array_equal(stream.capture("z"), expected)
    for step, run in enumerate(runs):
        assert stream.top(step) == run.top()
    assert len(result.stats_to_pandas()) == N * 12
    assert result.reports[0].elements_changed > 0


def test_only_the_steps_that_are_asked_are_observed(model):
    stats = [probe("resid_post", "std", steps="generated"), probe("z", "std", steps="prompt")]
    (stream,) = model.generate(PROMPT, stats=stats, **FREE).streams
    assert stream.stat_steps("resid_post") == tuple(range(1, N)) and stream.stat_steps("z") == (0,)


def test_a_prompts_pass_has_all_positions(model):
    (stream,) = model.generate(PROMPT, capture=capture("resid_post", layer=3), **FREE).streams
    length = len(model.tokenize(PROMPT))
    shapes = [stream.capture("resid_post", step=step).shape[0] for step in range(N)]
    assert shapes == [length] + [1] * (N - 1)


def test_full_logits_choose_the_token(model):
    (stream,) = model.generate(PROMPT, logits="full", **FREE).streams
    assert tuple(stream.logits().argmax(axis=1)) == stream.ids


# ---- draws, and ends -----------------------------------------------------------------------------

DRAW = {"sample": True, "temperature": 1.5, **FREE}


def test_seeds_reproduce(model):
    one, again = (model.generate(WAR, seed=1, continuations=3, **DRAW) for _ in range(2))
    assert one.digest == again.digest and one.texts == again.texts
    assert len({stream.ids for stream in one.streams}) > 1, "continuations are drawn apart"
    other = model.generate(WAR, seed=2, continuations=3, **DRAW)
    assert other.texts != one.texts
    assert (one.streams[0].sampling_log_probs < 0).all()


def test_a_text_does_not_depend_on_what_is_beside_it(model):
    alone = model.generate(PROMPT, seed=1, **DRAW)
    among = model.generate([PROMPT, WAR, OTHER], seed=1, continuations=2, **DRAW)
    assert among.stream().ids == alone.stream().ids
    np.testing.assert_array_equal(among.stream().log_probs, alone.stream().log_probs)


def test_what_ends_a_text(model):
    free = model.generate(WAR, **FREE).streams[0]
    assert free.finish_reason == "length" and len(free.ids) == N
    by_id = model.generate(WAR, stop_ids=free.ids[2], **FREE).streams[0]
    first = free.ids.index(free.ids[2])
    assert by_id.finish_reason == "stop_id" and by_id.ids == free.ids[: first + 1]
    end = free.tokens[0] + free.tokens[1]
    by_text = model.generate(WAR, stop=["nowhere", end], **FREE).streams[0]
    assert (by_text.finish_reason, by_text.stop_string) == ("stop_string", end)
    assert by_text.text == "" and by_text.ids == free.ids[:2]
    longer = model.generate(WAR, stop_ids=free.ids[0], min_new_tokens=3, **FREE).streams[0]
    assert len(longer.ids) >= 3 and free.ids[0] not in longer.ids[:3]


def test_pieces_are_the_text(model):
    result = model.generate([PROMPT, WAR], **DRAW)
    for stream in result.streams:
        assert "".join(token.text for token in stream.generated) == stream.text
        assert stream.text == model.detokenize(stream.ids)


# ---- calls ---------------------------------------------------------------------------------------


def test_both_clients_give_the_same(model, server):
    one = model.generate(WAR, seed=1, **DRAW)
    other = with_model(server.address, lambda client: client.generate(WAR, seed=1, **DRAW))
    assert one.digest == other.digest and one.to_pandas().equals(other.to_pandas())


def test_a_message_is_run_as_it_is(model):
    one = model.generate(WAR, seed=1, **DRAW)
    assert model.generate_request(one.request).texts == one.texts
    assert model.generate_request(one.normalized).texts == one.texts


def test_a_validation_says_the_cost(model):
    started = model.validate_generate([WAR, PROMPT], continuations=2, unsteered=True, **FREE)
    assert isinstance(started, GenerationStarted) and len(started.streams) == 8
    assert started.cost.tokens > 0 and started.kv_bytes > 0
    assert started.digest == model.generate(
        [WAR, PROMPT], continuations=2, unsteered=True, **FREE
    ).digest  # fmt: skip


LONG = {"sample": True, "continuations": 8, "reuse_kv": "recompute_all"}
EDIT = scale("z", 2)


def under_way(model):
    return model.status().calls.get("Generate", 0)


def test_leaving_the_loop_ends_the_generation(model):
    """It would take minutes."""
    with model.stream_generate(
        [WAR] * 8, EDIT, **LONG, **{**FREE, "max_new_tokens": 200}
    ) as stream:
        for event in stream:
            if isinstance(event, GeneratedToken):
                break
        assert under_way(model) == 1
    deadline = time.monotonic() + 20
    while under_way(model) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert under_way(model) == 0


def test_a_deadline_leaves_what_came(model):
    with model.stream_generate(WAR, EDIT, **LONG, **FREE) as stream:
        began = time.monotonic()
        next(event for event in stream if isinstance(event, GeneratedToken))
        seconds = time.monotonic() - began
    with pytest.raises(TimeoutError) as raised:
        model.generate(
            WAR, EDIT, timeout=2 * seconds + 1, **LONG, **{**FREE, "max_new_tokens": 200}
        )
    partial = raised.value.partial
    assert partial.finished is None and partial.streams[0].finish_reason is None
    whole = model.generate(WAR, EDIT, **LONG, **FREE)
    for cut, stream in zip(partial.streams, whole.streams, strict=True):
        assert cut.ids and cut.ids[:N] == stream.ids[: len(cut.ids)]


def test_the_script_writes_both_texts(server):
    path = environment.ROOT / "client" / "examples" / "scripts" / "steer_generation.py"
    done = subprocess.run(
        [sys.executable, str(path), "--server", server.address],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The project began in") and "[" in done.stdout


@pytest.mark.parametrize("wrong, arguments", [
    ({"interventions": zero("z")}, ["reuse_kv"]),
    ({"max_new_tokens": None}, ["max_new_tokens"]),
    ({"max_new_tokens": 0}, ["max_new_tokens"]),
    ({"top_p": 0.5, "temperature": 2.0}, ["temperature", "top_p"]),
    ({"sample": True, "top_p": 1.5, "top_k": 0}, ["top_k", "top_p"]),
    ({"continuations": 0}, ["continuations"]),
    ({"stop": ["a", ""]}, ["stop[1]"]),
    ({"stop_ids": [1, 5000]}, ["stop_ids[1]"]),
    ({"interventions": zero("z"), "reuse_kv": "clean_prompt"}, ["interventions.steps"]),
])  # fmt: skip
def test_errors_say_arguments(model, wrong, arguments):
    with pytest.raises(scalpel.RequestError) as raised:
        model.generate(PROMPT, **{**FREE, **wrong})
    assert sorted(v.argument for v in raised.value.violations) == arguments


def test_steps_are_of_generations_alone(model):
    for call in (
        lambda edit: model.run(PROMPT, edit),
        lambda edit: model.sweep(PROMPT, edit, over="layers", metrics=scalpel.loss()),
    ):
        with pytest.raises(scalpel.InvalidArgument, match=r"steps"):
            call(zero("z", steps="generated"))
