"""What goes wrong is an exception that says which argument, and what was done about it."""

import inspect
import json
import pickle
import time

import grpc
import pytest

import scalpel
from scalpel import (
    add,
    capture,
    connection,
    errors,
    heads,
    kl_from_clean,
    knockout,
    layers,
    logit_diff,
    noise,
    operations,
    patch,
    prob,
    probe,
    scale,
    values,
    zero,
)
from scalpel.rpc import error_details_pb2
from tests.python.fake_server import Failure, queue_full, run_events
from tests.python.raw import OTHER, PROMPT
from tests.support import environment

NAN = float("nan")
KL = kl_from_clean()
AGAIN = {"UNAVAILABLE": errors.Unavailable(), "RESOURCE_EXHAUSTED": errors.QueueFull()}


# ---- which argument ------------------------------------------------------------------------------


def run(*arguments, **options):
    return lambda model: model.run(*arguments, **options)


def sweep(*arguments, **options):
    return lambda model: model.sweep(*arguments, **options)


WRONG_ARGUMENTS = [
    (run([]), ["prompts"]),
    (run(""), ["prompts"]),
    (run(["a", ""]), ["prompts[1]"]),
    (run([5000]), ["prompts[0]"]),
    (run([[1], [1, 5000]]), ["prompts[1][1]"]),
    (run("a", zero("k", layer=12)), ["interventions.layer"]),
    (run("a", [zero("k"), zero("k", layer=[1, 12])]), ["interventions[1].layer[1]"]),
    (run("a", zero("k", layer=[2, 1, -10])), ["interventions.layer"]),
    (run("a", zero("k", head=12)), ["interventions.head"]),
    (run("a", zero("resid_post", head=1)), ["interventions.head"]),
    (run("a", zero("k", unit=8)), ["interventions.unit"]),
    (run("a", zero("k", unit=slice(3, 3))), ["interventions.unit"]),
    (run("a", zero("k", position=1)), ["interventions.position"]),
    (run("a b", zero("k", position=[0, 2])), ["interventions.position[1]"]),
    (run("a", zero("pattern", query=1)), ["interventions.query"]),
    (run("a", zero("pattern", key=1)), ["interventions.key"]),
    (run("a", zero("k", position=scalpel.tokens(5))), ["interventions.position"]),
    (run("a", zero("k", prompt=1)), ["interventions.prompt"]),
    (run("a", zero("nowhere")), ["interventions.site"]),
    (run("a", zero("blocks.3.attn.hook_k", layer=3)), ["interventions.layer"]),
    (run("a", zero("ln1_scale")), ["interventions.site"]),
    (run("a", [zero("k", name="x"), zero("q", name="x")]), ["interventions[1].name"]),
    (run("a", scale("k", NAN)), ["interventions.factor"]),
    (run("a", scale("k")), ["interventions.factor"]),
    (run("a", add("resid_pre", [1.0, 2.0])), ["interventions.value"]),
    (run("a", add("resid_pre", 1e300)), ["interventions.value"]),
    (run("a", add("resid_pre", 1, coefficient=NAN)), ["interventions.coefficient"]),
    (run("a", noise("k", -1)), ["interventions.std"]),
    (run("a", scalpel.clamp("k", 2, 1)), ["interventions.min"]),
    (run("a", patch("k", from_prompt=3)), ["interventions.from_prompt"]),
    (run("a", patch("k", from_clean=3)), ["interventions.from_clean"]),
    (run("a", patch("k", from_clean=0, from_layer=12)), ["interventions.from_layer"]),
    (run("a", patch("k", from_clean=0, from_head=12, head=0)), ["interventions.from_head"]),
    (run("a", patch("k", from_clean=0, from_position=9, position=0)),
     ["interventions.from_position"]),
    (run("a", knockout([(0, 1)])), ["interventions.pairs[0]"]),
    (run("a", scalpel.project_out("z", [0.0] * 8)), ["interventions.direction"]),
    (run("a", stats=probe("nowhere", "std")), ["stats.site"]),
    (run("a", stats=[probe("k", "std"), probe("k", "entropy")]), ["stats[1].statistics[0]"]),
    (run("a", stats={"k": "std", "nowhere": "std"}), ["stats['nowhere'].site"]),
    (run("a", stats=probe("k", "std", keep="query")), ["stats.keep[0]"]),
    (run("a", stats=probe("k", quantiles=[0.5, 2])), ["stats.quantiles[1]"]),
    (run("a", stats=probe("k", histogram=(0, 1, 0))), ["stats.histogram", "stats.histogram"]),
    (run("a", capture="nowhere"), ["capture.site"]),
    (run("a", capture=["k", capture("k", layer=12)]), ["capture[1].layer"]),
    (run("a", logits=5000), ["logits.k"]),
    (run("a", logits=scalpel.Logits.of([1, 5000])), ["logits.token_ids[1]"]),
    (run("a", logits=scalpel.Logits.full(position=7)), ["logits.position"]),
    (run("a", block_outputs=[1, 12]), ["block_outputs.layers[1]"]),
    (run("a", [scale("k", NAN, layer=12), zero("q", head=12)]),
     ["interventions[0].factor", "interventions[0].layer", "interventions[1].head"]),
    (sweep("a", zero("k", layer=12), over="heads", metrics=KL), ["interventions.layer"]),
    (sweep("a", zero("k"), over=[layers([0, 12])], metrics=KL), ["over[0].values[1]"]),
    (sweep("a", zero("k"), over=layers(of=3), metrics=KL), ["over.of"]),
    (sweep("a", zero("k"), over=[heads(name="x"), layers(name="x")], metrics=KL), ["over[1].name"]),
    (sweep("a", zero("k"), over=values([1]), metrics=KL), ["interventions"]),
    (sweep("a", scale("k"), over=values([1, NAN]), metrics=KL), ["over.numbers[1]"]),
    (sweep("a", zero("k"), over=[], metrics=KL), ["over"]),
    (sweep("a", [], over="heads", metrics=KL), ["interventions"]),
    (sweep("a", zero("k"), over="heads", metrics=prob(" Mary Ann")), ["metrics.tokens[0]"]),
    (sweep("a", zero("k"), over="heads", metrics=[KL, logit_diff(" Mary Ann", 5)]),
     ["metrics[1].target"]),
    (sweep("a", zero("k"), over="heads", metrics=logit_diff([1, 2, 3], 5)), ["metrics.target"]),
    (sweep("a", zero("k"), over="heads", metrics=scalpel.top_k(0)), ["metrics.k"]),
    (sweep("a", zero("k"), over="heads", metrics=kl_from_clean(position=4)),
     ["metrics.position"]),
    (sweep("a", patch("k", from_source=1), sources="b", over="heads", metrics=KL),
     ["interventions.from_source"]),
    (sweep("a", variants=[[], zero("k", layer=12)], metrics=KL), ["variants[1].layer"]),
    (sweep("a", variants={"off": [zero("k"), zero("k", head=12)]}, metrics=KL),
     ["variants['off'][1].head"]),
    (lambda model: model.patch(PROMPT, OTHER, answer=" Mary Ann", wrong=" John"),
     ["answer"]),
    (lambda model: model.patch(PROMPT, OTHER, "k", answer=" Mary", wrong=" John", unit=99),
     ["unit"]),
    (lambda model: model.patch([PROMPT, ""], [OTHER, "a"], answer=" Mary", wrong=" John",
                               over="layers"),
     ["clean[1]"]),
    (lambda model: model.patch(PROMPT, "", answer=" Mary", wrong=" John", direction="noising"),
     ["corrupted"]),
    (lambda model: model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", metrics=prob(5000)),
     ["metrics[0].tokens[0]"]),
]  # fmt: skip


@pytest.mark.parametrize(
    "call, arguments", WRONG_ARGUMENTS, ids=[str(names) for _, names in WRONG_ARGUMENTS]
)
def test_the_error_names_the_argument(model, call, arguments):
    with pytest.raises(scalpel.InvalidArgument) as raised:
        call(model)
    error = raised.value
    found = [violation.argument for violation in error.violations]
    assert found == arguments, error
    assert error.code == "INVALID_ARGUMENT" and error.request_id
    for violation in error.violations:
        assert violation.description and violation.field
        assert violation.argument in str(error) and violation.description in str(error)


def test_the_message_is_read_by_people(model):
    with pytest.raises(ValueError, match="the request is refused") as raised:
        model.run("a", [scale("k", NAN, layer=12), zero("q", head=12)], logits=5000)
    assert isinstance(raised.value, scalpel.InvalidArgument)
    factor, layer, head, k = (violation.description for violation in raised.value.violations)
    assert str(raised.value) == (
        "the request is refused\n"
        "in scale('k', nan, layer=12)\n"
        f"  interventions[0].factor: {factor}\n"
        f"  interventions[0].layer: {layer}\n"
        "in zero('q', head=12)\n"
        f"  interventions[1].head: {head}\n"
        "in Logits.top_k(5000)\n"
        f"  logits.k: {k}"
    )


def test_a_raw_request_is_told_its_own_fields(model):
    request = scalpel.v1.run_pb2.RunRequest(prompts=[{"text": ""}])
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.run_request(request)
    (violation,) = raised.value.violations
    assert violation.argument == violation.field == "prompts[0]"


def test_the_server_has_every_operation_that_has_a_function(model):
    """And no other: nothing of the contract is refused by name."""
    named = {"set_" if name == "set" else name for name in model.info.operations}
    assert named == {
        name
        for name, function in inspect.getmembers(operations, inspect.isfunction)
        if function.__module__ == operations.__name__ and not name.startswith("_")
    }


# ---- every status --------------------------------------------------------------------------------

STATUSES = [
    ("CANCELLED", scalpel.Cancelled, scalpel.ScalpelError),
    ("UNKNOWN", scalpel.ScalpelError, scalpel.ScalpelError),
    ("INVALID_ARGUMENT", scalpel.InvalidArgument, ValueError),
    ("DEADLINE_EXCEEDED", scalpel.DeadlineExceeded, TimeoutError),
    ("NOT_FOUND", scalpel.NotFound, LookupError),
    ("PERMISSION_DENIED", scalpel.PermissionDenied, scalpel.AccessDenied),
    ("PERMISSION_DENIED", scalpel.PermissionDenied, PermissionError),
    ("UNAUTHENTICATED", scalpel.Unauthenticated, scalpel.AccessDenied),
    ("RESOURCE_EXHAUSTED", scalpel.LimitExceeded, scalpel.ScalpelError),
    ("FAILED_PRECONDITION", scalpel.FailedPrecondition, scalpel.ScalpelError),
    ("UNIMPLEMENTED", scalpel.NotImplementedByServer, NotImplementedError),
    ("INTERNAL", scalpel.ServerError, scalpel.ScalpelError),
    ("UNAVAILABLE", scalpel.Unavailable, ConnectionError),
    ("DATA_LOSS", scalpel.ProtocolError, scalpel.ScalpelError),
]


@pytest.mark.parametrize("code, kind, builtin", STATUSES)
def test_each_status_is_an_exception(fake, hasty, code, kind, builtin):
    fake.script["Run"] = [Failure(grpc.StatusCode[code], "it says why", request_id="abc")] * 3
    with pytest.raises(builtin) as raised:
        hasty.run("a")
    error = raised.value
    assert type(error) is kind and error.code == code
    assert "it says why" in str(error) and error.request_id == "abc"
    assert error.__context__ is None, "which could not be pickled with it, as clusters do"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and again.request_id == "abc" and str(again) == str(error)


def test_details_that_are_not_known_do_no_harm(fake, hasty):
    unknown = error_details_pb2.BadRequest.FieldViolation(field="x", description="y")
    fake.script["Run"] = [Failure(grpc.StatusCode.INVALID_ARGUMENT, "no list", [unknown])]
    with pytest.raises(scalpel.InvalidArgument, match="no list") as raised:
        hasty.run("a")
    assert raised.value.violations == ()


def test_a_limit_is_named(model):
    with pytest.raises(scalpel.LimitExceeded) as raised:
        model.run([[1] * 64] * 256, capture=["attn_scores", "pattern"])
    assert not isinstance(raised.value, scalpel.QueueFull)
    assert any("max_response_bytes" in name for name, _ in raised.value.limits)


def test_another_model_is_not_found(server):
    with pytest.raises(scalpel.NotFound):
        scalpel.connect(server.address, model="no-such-model")


def test_no_server_is_said_with_its_address():
    with pytest.raises(scalpel.Unavailable, match=r"is a server ready at 127\.0\.0\.1:9"):
        scalpel.connect("127.0.0.1:9", retry=None)


# ---- trying again --------------------------------------------------------------------------------


def test_a_call_is_made_again_where_no_server_answered(fake, hasty):
    fake.script["Run"] = [Failure(grpc.StatusCode.UNAVAILABLE, "loading")] * 2
    assert hasty.run("a").top()
    fake.script["Tokenize"] = [Failure(grpc.StatusCode.UNAVAILABLE, "loading")] * 2
    assert hasty.tokenize("a").ids
    assert fake.count("Run") == fake.count("Tokenize") == 3


def test_a_full_queue_is_waited_for_as_long_as_it_says(fake, hasty):
    fake.script["Run"] = [queue_full(0.3)]
    begin = time.monotonic()
    assert hasty.run("a").top()
    assert 0.3 <= time.monotonic() - begin < 5 and fake.count("Run") == 2


def test_attempts_have_an_end(fake, hasty):
    fake.script["Run"] = [queue_full(0.01)] * 9
    with pytest.raises(scalpel.QueueFull) as raised:
        hasty.run("a")
    assert fake.count("Run") == 3 and raised.value.retry_after == pytest.approx(0.01)


def test_nothing_is_waited_for_beyond_the_deadline(fake, hasty):
    fake.script["Run"] = [queue_full(60)]
    begin = time.monotonic()
    with pytest.raises(scalpel.QueueFull):
        hasty.run("a", timeout=2)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "RESOURCE_EXHAUSTED"])
def test_what_a_second_try_cannot_change_is_not_tried_again(fake, hasty, code):
    fake.script["Run"] = [Failure(grpc.StatusCode[code])]
    with pytest.raises(scalpel.ScalpelError):
        hasty.run("a")
    assert fake.count("Run") == 1


def test_a_stream_that_has_begun_is_not_made_again(server, fake, hasty):
    first, *_ = run_events(server.address)
    fake.script["Run"] = [[first, Failure(grpc.StatusCode.UNAVAILABLE, "it went away")]]
    with pytest.raises(scalpel.Unavailable, match="it went away"):
        hasty.run("a")
    assert fake.count("Run") == 1


def test_retry_can_be_turned_off(fake):
    with scalpel.connect(fake.address, retry=None) as model:
        fake.script["Run"] = [Failure(grpc.StatusCode.UNAVAILABLE)]
        with pytest.raises(scalpel.Unavailable):
            model.run("a")
    assert fake.count("Run") == 1


def test_the_preset_is_the_policy_of_all_clients():
    text = (environment.ROOT / "client" / "retry-policy.json").read_text()
    (method,) = json.loads(text)["methodConfig"]
    policy, preset = method["retryPolicy"], scalpel.Retry()
    assert method["name"] == [{"service": connection.SERVICE.strip("/")}]
    assert policy["maxAttempts"] == preset.attempts
    assert policy["initialBackoff"] == f"{preset.first_pause:g}s"
    assert policy["maxBackoff"] == f"{preset.longest_pause:g}s"
    for code in policy["retryableStatusCodes"]:
        assert preset.pause(AGAIN[code], 1, None) is not None
    pauses = [preset.pause(errors.Unavailable(), attempt, None) for attempt in (1, 2, 3)]
    for attempt, pause in enumerate(pauses):
        longest = preset.first_pause * policy["backoffMultiplier"] ** attempt
        assert longest / 2 <= pause <= longest


def test_pauses_grow_and_stay_bounded():
    retry = scalpel.Retry(attempts=20, first_pause=1, longest_pause=8)
    pauses = [retry.pause(errors.Unavailable(), attempt, None) for attempt in range(1, 20)]
    for attempt, pause in enumerate(pauses):
        assert min(2**attempt, 8) / 2 <= pause <= min(2**attempt, 8)
    assert retry.pause(errors.Unavailable(), 20, None) is None
    assert retry.pause(errors.Unavailable(), 1, left=0.1) is None
