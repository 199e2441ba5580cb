"""Numbers, tensors and enum values that no operation can use."""

import base64
import math
import struct

import grpc
import pytest

from scalpel.v1 import service_pb2, spec_pb2
from tests.fault.calls import CONFIG, assert_violation, refused
from tests.support.client import make_request

NAN, INF = math.nan, math.inf
WIDTH = CONFIG["n_embd"]
PROMPTS = [{"token_ids": {"ids": [1, 2, 3, 4]}}]
RESID = {"path": "blocks.3.hook_resid_pre"}
OPERATION = "interventions[0]."


def edit(operation, place=RESID, **fields):
    """A request with one intervention, as a message: JSON cannot say every number."""
    request = make_request({"prompts": PROMPTS, "interventions": [{"place": place}], **fields})
    request.interventions[0].MergeFrom(operation)
    return request


def op(**operation):
    return spec_pb2.Intervention(**operation)


def tensor(*values):
    return spec_pb2.Add(tensor={"values": values}).tensor


NUMBERS = {
    "scale.factor": lambda x: op(scale=spec_pb2.Scale(factor=x)),
    "add.constant": lambda x: op(add=spec_pb2.Add(constant=x)),
    "add.coefficient": lambda x: op(add=spec_pb2.Add(constant=1, coefficient=x)),
    "set.constant": lambda x: op(set=spec_pb2.Set(constant=x)),
    "noise.mean": lambda x: op(noise=spec_pb2.Noise(mean=x)),
    "noise.std": lambda x: op(noise=spec_pb2.Noise(std=x)),
    "clamp.min": lambda x: op(clamp=spec_pb2.Clamp(min=x)),
    "clamp.max": lambda x: op(clamp=spec_pb2.Clamp(max=x)),
    "project_out.factor": lambda x: op(
        project_out=spec_pb2.ProjectOut(direction=tensor(*[1] * WIDTH), factor=x)
    ),
}
TENSORS = {
    "add.tensor": lambda x: op(add=spec_pb2.Add(tensor=tensor(x))),
    "set.tensor": lambda x: op(set=spec_pb2.Set(tensor=tensor(x))),
    "project_out.direction": lambda x: op(
        project_out=spec_pb2.ProjectOut(direction=tensor(x, *[1] * (WIDTH - 1)))
    ),
}
BAD_NUMBERS = [NAN, INF, -INF, 1e-310, 1e-40, -1e-40, 1e39, -1e39]


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", NUMBERS)
def test_number_that_float32_does_not_hold(faulty, field, number):
    """scale NaN, Inf, denormal; noise std < 0"""
    assert_violation(faulty, edit(NUMBERS[field](number)), OPERATION + field, "allow_non_finite")


@pytest.mark.parametrize("number", [NAN, INF, -INF, 1e-40])
@pytest.mark.parametrize("field", TENSORS)
def test_tensor_with_a_number_that_float32_does_not_hold(faulty, field, number):
    """scale NaN, Inf, denormal; noise std < 0

    The same inside a tensor.
    """
    assert_violation(faulty, edit(TENSORS[field](number)), OPERATION + field, "allow_non_finite")


@pytest.mark.parametrize("number", [NAN, INF, 1e-40])
@pytest.mark.parametrize("field", ["scale.factor", "add.constant", "set.constant", "noise.mean"])
def test_non_finite_numbers_run_where_they_are_meant(faulty, field, number):
    """scale NaN, Inf, denormal; noise std < 0

    Admitted by allow_non_finite, and shown as they are.
    """
    result = faulty.run(
        edit(
            NUMBERS[field](number),
            allow_non_finite=True,
            probes=[
                {
                    "name": "after",
                    "statistics": ["STATISTIC_ABS_MAX"],
                    "place": {"path": "blocks.3.hook_resid_pre"},
                }
            ],
        )
    )
    seen = float(result.statistic("after", "abs_max", layer=3))
    assert math.isfinite(seen) == math.isfinite(number)


@pytest.mark.parametrize("admitted", [False, True])
def test_noise_with_a_negative_spread(faulty, admitted):
    """scale NaN, Inf, denormal; noise std < 0

    No flag admits this.
    """
    request = edit(NUMBERS["noise.std"](-1), allow_non_finite=admitted)
    assert_violation(faulty, request, "interventions[0].noise.std", "-1 is below 0")


@pytest.mark.parametrize(
    "operation, field",
    [
        (op(scale=spec_pb2.Scale()), "scale.factor"),
        (op(add=spec_pb2.Add()), "add"),
        (op(set=spec_pb2.Set()), "set"),
        (op(clamp=spec_pb2.Clamp()), "clamp"),
        (op(clamp=spec_pb2.Clamp(min=2, max=1)), "clamp.min"),
        (op(patch=spec_pb2.Patch()), "patch"),
        (op(project_out=spec_pb2.ProjectOut()), "project_out.direction"),
        (
            op(project_out=spec_pb2.ProjectOut(direction=tensor(*[0] * WIDTH))),
            "project_out.direction",
        ),
        (op(project_out=spec_pb2.ProjectOut(direction=tensor(1, 2))), "project_out.direction"),
    ],
)
def test_operation_without_what_it_needs(faulty, operation, field):
    """unknown dtype or enum number, unset oneof, unknown intervention kind

    Operands that are missing.
    """
    assert_violation(faulty, edit(operation), OPERATION + field)


def floats(count):
    return base64.b64encode(struct.pack(f"<{count}f", *range(1, count + 1))).decode()


@pytest.mark.parametrize(
    "value, field, word",
    [
        ({"data": floats(WIDTH), "shape": [WIDTH - 1]}, "", f"{WIDTH} are given"),
        ({"data": floats(WIDTH), "shape": [WIDTH, 2]}, "", f"{WIDTH} are given"),
        (
            {"data": floats(WIDTH), "shape": [WIDTH], "dtype": "DATA_TYPE_FLOAT16"},
            "",
            f"{2 * WIDTH} are given",
        ),
        (
            {"data": base64.b64encode(b"\0" * (4 * WIDTH - 1)).decode(), "shape": [WIDTH]},
            ".data",
            "whole number",
        ),
        ({"data": floats(WIDTH)}, ".shape", "required"),
        ({"data": floats(WIDTH), "shape": [WIDTH, 0]}, ".shape[1]", "below 1"),
        ({"data": floats(WIDTH), "shape": [-WIDTH]}, ".shape[0]", "below 1"),
        ({"data": floats(WIDTH), "shape": [-1, -WIDTH]}, ".shape[0]", "below 1"),
        ({"data": floats(1), "shape": [str(1 << 32), str(1 << 32)]}, ".shape", "more elements"),
        ({"data": floats(1), "shape": [str(1 << 62), 4]}, ".shape", "more elements"),
        ({"data": floats(1), "shape": [str((1 << 63) - 1), 3]}, ".shape", "more elements"),
        ({"data": floats(4), "shape": [str(1 << 62)]}, ".shape", "more elements"),
        ({"data": floats(1), "shape": [1] * 100}, ".shape", "axes"),
        ({"values": [1, 2, 3], "shape": [2]}, "", "3 are given"),
        ({"values": [1] * WIDTH, "data": floats(WIDTH), "shape": [WIDTH]}, "", "exactly one"),
        ({"shape": [WIDTH]}, "", "exactly one"),
        ({"values": [1, 2, 3]}, "", "broadcast"),
        ({"data": floats(WIDTH * 5), "shape": [5, WIDTH]}, "", "broadcast"),
    ],
)
@pytest.mark.parametrize("operation", ["add", "set"])
def test_tensor_that_is_not_what_its_shape_says(faulty, operation, value, field, word):
    """replacement tensor: byte size != product of shape x dtype; shape with 0 or negative;
    product wraps to 0
    """
    request = {
        "prompts": PROMPTS,
        "interventions": [{"place": RESID, operation: {"tensor": value}}],
    }
    assert_violation(faulty, request, f"{OPERATION}{operation}.tensor{field}", word)


PROBE = {"place": RESID, "statistics": ["STATISTIC_STD"]}


@pytest.mark.parametrize(
    "change, field",
    [
        ({"interventions": [{"place": {"site": 999}, "zero": {}}]}, "interventions[0].place.site"),
        ({"interventions": [{"place": {"site": -1}, "zero": {}}]}, "interventions[0].place.site"),
        ({"interventions": [{"zero": {}}]}, "interventions[0].place.site"),
        (
            {"interventions": [{"place": {"site": "SITE_K", "path": "hook_k"}, "zero": {}}]},
            "interventions[0].place.path",
        ),
        (
            {
                "interventions": [
                    {"place": {"path": "blocks.1.hook_k", "where": {"layers": [1]}}, "zero": {}}
                ]
            },
            "interventions[0].place.where.layers",
        ),
        ({"interventions": [{"place": RESID}]}, "interventions[0]"),
        (
            {"interventions": [{"place": RESID, "noise": {"mode": 9}}]},
            "interventions[0].noise.mode",
        ),
        (
            {"interventions": [{"place": {"path": "hook_k", "where": {"units": {}}}, "zero": {}}]},
            "interventions[0].place.where.units",
        ),
        (
            {
                "interventions": [
                    {
                        "place": RESID,
                        "add": {"tensor": {"data": floats(WIDTH), "shape": [WIDTH], "dtype": 99}},
                    }
                ]
            },
            "interventions[0].add.tensor.dtype",
        ),
        ({"probes": [{**PROBE, "statistics": [99]}]}, "probes[0].statistics[0]"),
        ({"probes": [{**PROBE, "statistics": [0]}]}, "probes[0].statistics[0]"),
        ({"probes": [{**PROBE, "statistics": [1, 1]}]}, "probes[0].statistics[1]"),
        ({"probes": [{"place": RESID}]}, "probes[0].statistics"),
        ({"probes": [{**PROBE, "moment": 7}]}, "probes[0].moment"),
        ({"probes": [{**PROBE, "keep": [77]}]}, "probes[0].keep[0]"),
        ({"probes": [{**PROBE, "keep": ["AXIS_HEAD"]}]}, "probes[0].keep[0]"),
        ({"probes": [{**PROBE, "keep": ["AXIS_POSITION", "AXIS_POSITION"]}]}, "probes[0].keep[1]"),
        ({"probes": [{**PROBE, "statistics": ["STATISTIC_ENTROPY"]}]}, "probes[0].statistics[0]"),
        ({"probes": [{**PROBE, "quantiles": [0.5, 1.5]}]}, "probes[0].quantiles[1]"),
        ({"probes": [{**PROBE, "quantiles": ["NaN"]}]}, "probes[0].quantiles[0]"),
        ({"probes": [{**PROBE, "histogram": {"bins": 0, "max": 1}}]}, "probes[0].histogram.bins"),
        (
            {"probes": [{**PROBE, "histogram": {"bins": 5, "min": 1, "max": 1}}]},
            "probes[0].histogram.max",
        ),
        (
            {"probes": [{**PROBE, "histogram": {"bins": 5, "min": -1e308, "max": 1e308}}]},
            "probes[0].histogram.max",
        ),
        ({"captures": [{"place": RESID, "dtype": 99}]}, "captures[0].dtype"),
        ({"captures": [{"place": RESID, "moment": -3}]}, "captures[0].moment"),
        ({"captures": [{}]}, "captures[0].place.site"),
        ({"logits": {"full": {"dtype": 99}}}, "logits.full.dtype"),
        ({"logits": {"top_k": {"k": 0}}}, "logits.top_k.k"),
        ({"logits": {"top_k": {"k": 1001}}}, "logits.top_k.k"),
        ({"logits": {"ids": {}}}, "logits.ids.ids"),
        ({"block_outputs": {"dtype": 99}}, "block_outputs.dtype"),
    ],
)
def test_enum_number_or_choice_that_does_not_exist(faulty, change, field):
    """unknown dtype or enum number, unset oneof, unknown intervention kind"""
    assert_violation(faulty, {"prompts": PROMPTS, **change}, field)


def test_operation_of_a_later_version(faulty):
    """unknown dtype or enum number, unset oneof, unknown intervention kind

    A field of the oneof that is not known here.
    """
    intervention = service_pb2.RunRequest(interventions=[{"place": {"path": "hook_k"}}])
    request = make_request({"prompts": PROMPTS})
    unknown = b"\xfa\x01\x00"  # field 31 of Intervention, an empty message
    data = intervention.interventions[0].SerializeToString() + unknown
    request.interventions.add().MergeFromString(data)
    assert_violation(faulty, request, "interventions[0]", "no operation")


@pytest.mark.parametrize("site", ["ln1_scale", "ln2_scale", "ln_f_scale", "head_result"])
def test_edit_of_a_site_that_is_only_observed(faulty, site):
    """unknown dtype or enum number, unset oneof, unknown intervention kind

    Known, but not to be edited.
    """
    request = {"prompts": PROMPTS, "interventions": [{"place": {"path": site}, "zero": {}}]}
    assert_violation(faulty, request, "interventions[0].place.site", "only be observed")


@pytest.mark.parametrize(
    "site, operation",
    [
        ("pattern", {"knockout": {}}),
        ("resid_pre", {"knockout": {}}),
        ("attn_scores", {"mean": {}}),
        ("pattern", {"project_out": {"direction": {"values": [1, 2, 3, 4]}}}),
    ],
)
def test_operation_at_a_site_where_it_means_nothing(faulty, site, operation):
    """unknown dtype or enum number, unset oneof, unknown intervention kind

    An operation in the wrong place.
    """
    request = {"prompts": PROMPTS, "interventions": [{"place": {"path": site}, **operation}]}
    assert_violation(faulty, request, "interventions[0].place.site")


@pytest.mark.parametrize("operation", ["freeze", "subspace", "permute"])
def test_operation_that_is_known_but_not_implemented(faulty, operation):
    """unknown dtype or enum number, unset oneof, unknown intervention kind

    UNIMPLEMENTED only if nothing else is wrong.
    """
    good = {"place": RESID, operation: {}}
    found = refused(lambda: faulty.run({"prompts": PROMPTS, "interventions": [good]}))
    assert found.code == grpc.StatusCode.UNIMPLEMENTED
    assert list(found.violations) == [f"interventions[0].{operation}"]
    bad = {"place": {"path": "nothing"}, "zero": {}}
    both = assert_violation(
        faulty, {"prompts": PROMPTS, "interventions": [good, bad]}, "interventions[1].place.path"
    )
    assert f"interventions[0].{operation}" in both.violations
