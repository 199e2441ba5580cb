"""What Python says is what the contract says: requests, their answers, and every option of both."""

import numpy as np
import pytest
from google.protobuf import json_format

import scalpel
from scalpel import Logits, add, calls, capture, generation, metrics, operations, probe, tokens
from scalpel.v1 import (
    generate_pb2,
    intervention_pb2,
    output_pb2,
    place_pb2,
    run_pb2,
    statistic_pb2,
    sweep_pb2,
    tensor_pb2,
)
from tests.python import equivalents, raw
from tests.support import environment
from tests.support.client import make_request

INDICES = {"indices": {"values": [1, -1]}}


def as_data(request):
    """The tensors of a request in bytes, as Python sends them, where JSON has numbers."""
    for one in request.interventions:
        tensor = one.add.tensor if one.HasField("add") else one.project_out.direction
        if one.WhichOneof("operation") in ("add", "project_out") and tensor.values:
            array = np.array(tensor.values, "<f4")
            tensor.CopyFrom(tensor_pb2.Tensor(dtype=1, shape=array.shape, data=array.tobytes()))
    return request


# ---- the examples --------------------------------------------------------------------------------


def test_every_example_is_said_in_python():
    files = {path.stem for path in environment.examples()}
    assert files == set(equivalents.RUNS)
    assert {path.stem for path in environment.examples("sweep")} == set(equivalents.SWEEPS)
    generations = {path.stem for path in environment.examples("generate")}
    assert generations == set(equivalents.GENERATIONS)


@pytest.mark.parametrize("name", [n for n in equivalents.RUNS if n != "18-validate-only"])
def test_run_equals_the_example(model, client, name):
    arguments, options = equivalents.RUNS[name]
    request = scalpel.load_request(environment.EXAMPLES / f"{name}.json")
    raw.assert_same_run(model.run(*arguments, **options), client.run(as_data(request)))


@pytest.mark.parametrize("name", equivalents.SWEEPS)
def test_sweep_equals_the_example(model, client, name):
    arguments, options = equivalents.SWEEPS[name]
    request = scalpel.load_request(environment.EXAMPLES / f"{name}.json")
    raw.assert_same_sweep(model.sweep(*arguments, **options), client.sweep(request))


def test_validation_equals_the_example(model, client):
    name = "18-validate-only"
    arguments, options = equivalents.RUNS[name]
    (event,) = client.events(environment.EXAMPLES / f"{name}.json")
    started = model.validate(*arguments, **options)
    assert started.digest == event.message.digest
    assert started.cost.response_bytes == event.message.cost.response_bytes > 0


@pytest.mark.parametrize("path", environment.examples(), ids=lambda path: path.stem)
def test_a_file_can_be_run_and_written_again(model, client, path, tmp_path):
    request = scalpel.load_request(path)
    assert isinstance(request, run_pb2.RunRequest)
    scalpel.save_request(request, tmp_path / "again.json")
    assert scalpel.load_request(tmp_path / "again.json") == request
    if not request.validate_only:
        raw.assert_same_run(model.run_request(request), client.run(request))


@pytest.mark.parametrize("path", environment.examples("sweep"), ids=lambda path: path.stem)
def test_a_sweeps_file_can_be_run(model, client, path):
    request = scalpel.load_request(path)
    assert isinstance(request, sweep_pb2.SweepRequest)
    sweep, expected = model.sweep_request(request), client.sweep(request)
    assert sweep.digest == expected.started.digest
    raw.assert_same_sweep(sweep, expected)


@pytest.mark.parametrize("name", equivalents.GENERATIONS)
def test_generation_equals_the_example(name, tmp_path):
    arguments, options = equivalents.GENERATIONS[name]
    request = scalpel.load_request(environment.EXAMPLES / f"{name}.json")
    assert isinstance(request, generate_pb2.GenerateRequest)
    assert as_data(request) == generation.generate(*arguments, **options).request
    scalpel.save_request(request, tmp_path / "again.json")
    assert scalpel.load_request(tmp_path / "again.json") == request


@pytest.mark.parametrize("content", [
    '{"stop": {"max_new_tokens": 3}}', '{"sampling": {}}', '{"continuations": 2}',
    '{"unsteered": true}', '{"reuse_kv": 1}', '{"reuseKv": 1}',
])  # fmt: skip
def test_a_file_with_what_only_generations_have_is_one(content, tmp_path):
    file = tmp_path / "request.json"
    file.write_text(content)
    assert isinstance(scalpel.load_request(file), generate_pb2.GenerateRequest)


def test_a_file_with_an_unknown_field_is_refused_by_name(tmp_path):
    file = tmp_path / "request.json"
    file.write_text('{"prompts": [], "interventionz": []}')
    with pytest.raises(ValueError, match=r"request\.json.*interventionz"):
        scalpel.load_request(file)


# ---- every operation, with all that it has -------------------------------------------------------

OPERATIONS = [
    (operations.zero("k", name="n"), {"name": "n", "zero": {}}),
    (operations.scale("k", 2.5), {"scale": {"factor": 2.5}}),
    (operations.scale("k"), {"scale": {}}),
    (add("k", 1.5), {"add": {"constant": 1.5}}),
    (add("k", coefficient=2), {"add": {"coefficient": 2}}),
    (operations.set_("k", 0), {"set": {"constant": 0}}),
    (operations.set_("k"), {"set": {}}),
    (operations.noise("k"), {"noise": {"mode": "NOISE_MODE_REPLACE"}}),
    (
        operations.noise("k", 0.0, mean=0.0, mode="add", seed=0),
        {"noise": {"mode": "NOISE_MODE_ADD", "std": 0, "mean": 0, "seed": 0}},
    ),
    (operations.clamp("k", -1, 1), {"clamp": {"min": -1, "max": 1}}),
    (operations.clamp("k", max=0), {"clamp": {"max": 0}}),
    (operations.mean("k"), {"mean": {}}),
    (operations.mean("k", over=[1, -1]), {"mean": {"over": INDICES}}),
    (
        operations.mean("k", over=tokens(5, 6)),
        {"mean": {"over": {"tokens": {"ids": [5, 6]}}}},
    ),
    (operations.patch("k", from_prompt=0), {"patch": {"prompt": 0}}),
    (
        operations.patch("k", from_clean=1, from_position=slice(1, -1), from_key=[1, -1],
                         from_head=[0, 2], from_layer=0),
        {
            "patch": {
                "clean_prompt": 1,
                "positions": {"range": {"start": 1, "end": -1}},
                "key_positions": INDICES,
                "heads": [0, 2],
                "layer": 0,
            }
        },
    ),
    (operations.project_out("k", factor=0), {"project_out": {"factor": 0}}),
]  # fmt: skip


@pytest.mark.parametrize("operation, message", OPERATIONS, ids=lambda value: str(value)[:40])
def test_operation_is_the_message(operation, message):
    written = {"place": {"path": "k"}, **message}
    expected = json_format.ParseDict(written, intervention_pb2.Intervention())
    assert operation.proto == expected


def test_knockout_is_at_the_scores_unless_told_otherwise():
    pairs = {"pairs": [{"query": -1, "key": 1}, {"query": 2, "key": 0}]}
    message = {"place": {"path": "attn_scores"}, "knockout": pairs}
    expected = json_format.ParseDict(message, intervention_pb2.Intervention())
    assert operations.knockout([(-1, 1), (2, 0)]).proto == expected
    assert operations.knockout(site="hook_attn_scores").proto.place.path == "hook_attn_scores"


def test_every_operation_of_the_contract_has_a_function():
    fields = intervention_pb2.Intervention.DESCRIPTOR.oneofs_by_name["operation"].fields
    names = {field.name for field in fields}
    assert {one.proto.WhichOneof("operation") for one, _ in OPERATIONS} == names - {"knockout"}
    assert names <= {name.rstrip("_") for name in scalpel.__all__}


@pytest.mark.parametrize("operation, field", [
    (lambda values: add("k", values), "add.tensor"),
    (lambda values: operations.set_("k", values), "set.tensor"),
    (lambda values: operations.project_out("k", values), "project_out.direction"),
])  # fmt: skip
@pytest.mark.parametrize("values, dtype", [
    ([[1, 2], [3, 4]], 1),
    (np.array([[1, 2], [3, 4]], np.float64)[::-1].T, 1),
    (np.array([[1, 2], [3, 4]], np.float16), 2),
    (np.array([[1, 2], [3, 4]], ">f4"), 1),
])  # fmt: skip
def test_arrays_travel_with_their_values(operation, field, values, dtype):
    tensor = operation(values).proto
    for name in field.split("."):
        tensor = getattr(tensor, name)
    stored = np.frombuffer(tensor.data, "<f2" if dtype == 2 else "<f4").reshape(tensor.shape)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(stored, np.asarray(values))


def test_patch_names_its_source():
    made = operations.patch("k", from_prompt=1, from_layer=2, from_head=3)
    assert made.proto.patch == intervention_pb2.Patch(prompt=1, layer=2, heads=[3])


# ---- every selector ------------------------------------------------------------------------------

SELECTORS = [
    ({"layer": 3}, {"layers": [3]}),
    ({"layer": range(2, 5)}, {"layers": [2, 3, 4]}),
    ({"layer": slice(0, 4, 2)}, {"layers": [0, 2]}),
    ({"layer": slice(-2, None)}, {"layers": [-2, -1]}),
    ({"layer": [11, -12, 3]}, {"layers": [11, -12, 3]}),
    ({"head": slice(5, 2, -1)}, {"heads": [5, 4, 3]}),
    ({"layer": np.int64(3)}, {"layers": [3]}),
    ({"layer": None}, None),
    ({"head": [0, 7]}, {"heads": [0, 7]}),
    ({"head": np.array([False, True, True])}, {"heads": [1, 2]}),
    ({"prompt": (0, 1)}, {"prompts": [0, 1]}),
    ({"unit": -1}, {"units": {"indices": {"values": [-1]}}}),
    ({"unit": slice(None, None, 2)}, {"units": {"range": {"step": 2}}}),
    ({"unit": slice(-4, None)}, {"units": {"range": {"start": -4}}}),
    ({"position": [1, -1]}, {"positions": INDICES}),
    ({"query": [1, -1]}, {"positions": INDICES}),
    ({"position": slice(0, 0)}, {"positions": {"range": {"start": 0, "end": 0}}}),
    ({"position": tokens(5)}, {"positions": {"tokens": {"ids": [5]}}}),
    ({"key": slice(1, None)}, {"key_positions": {"range": {"start": 1}}}),
    ({"key": tokens(5, 6)}, {"key_positions": {"tokens": {"ids": [5, 6]}}}),
    ({"steps": "prompt"}, {"steps": {"end": 1}}),
    ({"steps": "generated"}, {"steps": {"start": 1}}),
    ({"steps": 0}, {"steps": {"start": 0, "end": 1}}),
    ({"steps": np.int64(3)}, {"steps": {"start": 3, "end": 4}}),
    ({"steps": range(1, 9, 2)}, {"steps": {"start": 1, "end": 9, "step": 2}}),
    ({"steps": slice(2, None)}, {"steps": {"start": 2}}),
    ({"steps": slice(None)}, None),
]


@pytest.mark.parametrize("where, selection", SELECTORS, ids=str)
def test_selector_is_the_message(where, selection):
    place = {"path": "k"} if selection is None else {"path": "k", "where": selection}
    expected = json_format.ParseDict(place, place_pb2.Place())
    for made in (operations.zero("k", **where), probe("k", "std", **where), capture("k", **where)):
        assert made.proto.place == expected


@pytest.mark.parametrize("where, error", [
    ({"layers": 3}, "write `layer`"),
    ({"colour": 3}, "there is no selector `colour`"),
    ({"position": 1, "query": 2}, "`query` and `position` say the same"),
    ({"layer": slice(-2, 3)}, "layer: .*range"),
    ({"layer": True}, "layer: True"),
    ({"unit": [1, True]}, "unit: "),
    ({"head": "first"}, "head: 'first'"),
    ({"head": 1.5}, "head: 1.5"),
    ({"step": 1}, "write `steps`"),
    ({"steps": [1, 2]}, r"steps: \[1, 2\] is none of 'prompt', 'generated', a step"),
    ({"steps": True}, "steps: True"),
    ({"steps": 1.5}, "steps: 1.5"),
])  # fmt: skip
def test_what_is_no_selector_is_a_type_error(where, error):
    with pytest.raises(TypeError, match=error):
        operations.zero("k", **where)


@pytest.mark.parametrize("where", [{"layer": []}, {"head": np.zeros(4, bool)}, {"prompt": ()}])
def test_an_empty_list_never_becomes_all(where):
    """On the wire an empty list of layers means all of them."""
    with pytest.raises(ValueError, match="empty"):
        operations.zero("k", **where)


@pytest.mark.parametrize("steps, error", [
    ("prompts", "'prompts' is neither 'prompt' nor 'generated'"),
    (-1, "does not count forward from 0"),
    (slice(-3, None), "does not count forward"),
    (range(5, 0, -1), "does not count forward"),
    (range(3, 3), "empty; leave `steps` out"),
    (slice(0, 0), "empty"),
])  # fmt: skip
def test_steps_that_there_are_not_are_a_value_error(steps, error):
    with pytest.raises(ValueError, match=f"steps: .*{error}"):
        operations.zero("k", steps=steps)


# ---- what to look at, and what a run is asked ----------------------------------------------------


def run_message(*arguments, **options):
    return calls.run(*arguments, **options).request


def test_every_option_of_a_run_is_reached():
    request = run_message(
        [[1, 2], "text", np.array([3, 4])],
        operations.zero("k"),
        stats={"resid_post": ["mean", "std"], "z": "rms"},
        capture=["q", capture("v", dtype=np.float16, when="before", name="c")],
        logits=Logits.of([5, 6], position=slice(None)),
        block_outputs=True,
        output_attentions=True,
        output_hidden_states=True,
        clean=True,
        seed=0,
        allow_non_finite=True,
    )
    assert request == make_request({
        "prompts": [
            {"token_ids": {"ids": [1, 2]}},
            {"text": "text"},
            {"token_ids": {"ids": [3, 4]}},
        ],
        "interventions": [{"place": {"path": "k"}, "zero": {}}],
        "probes": [
            {"place": {"path": "resid_post"}, "statistics": ["STATISTIC_MEAN", "STATISTIC_STD"]},
            {"place": {"path": "z"}, "statistics": ["STATISTIC_RMS"]},
        ],
        "captures": [
            {"place": {"path": "q"}},
            {"name": "c", "place": {"path": "v"}, "moment": "MOMENT_BEFORE",
             "dtype": "DATA_TYPE_FLOAT16"},
        ],
        "logits": {"ids": {"ids": [5, 6]}, "positions": {"range": {}}},
        "block_outputs": {},
        "output_attentions": True,
        "output_hidden_states": True,
        "include_clean_run": True,
        "seed": 0,
        "allow_non_finite": True,
    })  # fmt: skip
    named = {field.name for field, _ in request.ListFields()}
    assert named == {f.name for f in request.DESCRIPTOR.fields} - {"model", "validate_only"}


@pytest.mark.parametrize("logits, message", [
    (3, {"top_k": {"k": 3}}),
    ("full", {"full": {}}),
    ("none", {"none": {}}),
    (Logits.none(), {"none": {}}),
    (Logits.full(position=tokens(9), dtype="bfloat16"),
     {"full": {"dtype": "DATA_TYPE_BFLOAT16"}, "positions": {"tokens": {"ids": [9]}}}),
    (Logits.top_k(2, position=0), {"top_k": {"k": 2}, "positions": {"indices": {"values": [0]}}}),
])  # fmt: skip
def test_logits_is_the_message(logits, message):
    expected = json_format.ParseDict(message, output_pb2.LogitsRequest())
    assert run_message("a", logits=logits).logits == expected


@pytest.mark.parametrize("prompts, count", [
    ("text", 1), (["a", "b"], 2), ([1, 2], 1), ([[1, 2], [3]], 2), (np.array([1, 2]), 1),
    (np.array([[1, 2], [3, 4]]), 2), ([], 0),
])  # fmt: skip
def test_prompts_are_one_or_several(prompts, count):
    assert len(run_message(prompts).prompts) == count


@pytest.mark.parametrize("statistic", statistic_pb2.Statistic.keys()[1:])
def test_every_statistic_has_its_name(statistic):
    name = statistic.removeprefix("STATISTIC_").lower()
    assert probe("k", name).proto.statistics == [statistic_pb2.Statistic.Value(statistic)]


@pytest.mark.parametrize("wrong, error", [
    (lambda: probe("k", "stdev"), "statistics: 'stdev' is not one of mean, std"),
    (lambda: probe("k", "std", keep="heads"), "keep: 'heads'"),
    (lambda: probe("k", "std", when="during"), "when: 'during'"),
    (lambda: capture("k", dtype="float64"), "dtype: 'float64'"),
    (lambda: operations.noise("k", mode="both"), "mode: 'both'"),
    (lambda: scalpel.layers([]), "layers: the list is empty"),
    (lambda: calls.run("a", block_outputs=[]), "block_outputs: the list is empty"),
    (lambda: calls.sweep("a", over="tokens"), "over: 'tokens' is not one of layers, heads"),
])  # fmt: skip
def test_a_word_that_the_contract_lacks_is_a_value_error(wrong, error):
    with pytest.raises(ValueError, match=error):
        wrong()


@pytest.mark.parametrize("wrong, error", [
    (lambda: operations.zero(3), "site: 3"),
    (lambda: calls.run("a", ["zero"]), "interventions: 'zero'"),
    (lambda: calls.run("a", stats=["std"]), "stats: 'std'"),
    (lambda: calls.run("a", logits=True), "logits: "),
    (lambda: calls.run("a", operations.patch("k", from_source=0)), "from_source is for sweeps"),
    (lambda: operations.patch("k", from_clean=0, from_prompt=0), "give one of them"),
    (lambda: calls.sweep("a", operations.zero("k"), variants=[[]]), "variants: "),
    (lambda: calls.sweep("a", variants=[[]], metrics=["kl"]), "metrics: 'kl'"),
    (lambda: metrics.prob(" a", 5), "by id before"),
    (lambda: add("k", {"a": 1}), "value: not an array"),
])  # fmt: skip
def test_what_cannot_be_said_is_a_type_error(wrong, error):
    with pytest.raises(TypeError, match=error):
        wrong()
