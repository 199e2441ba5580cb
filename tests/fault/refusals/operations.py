"""Places, operations, probes, captures and outputs that the contract or the model does not have."""

from collections.abc import Iterator
from typing import Any

from scalpel.v1 import run_pb2
from tests.fault.calls import send_raw
from tests.fault.refusals.case import PROMPTS, RESID, Case, edit, run, zero
from tests.fault.refusals.operands import WIDTH, floats
from tests.support.client import Client, make_request

PROBE = {"place": RESID, "statistics": ["STATISTIC_STD"]}
# Probes, captures and outputs; each is the whole of its list.
OBSERVATIONS: list[tuple[str, dict[str, Any], str]] = [
    ("probes", {**PROBE, "statistics": [99]}, "statistics[0]"),
    ("probes", {**PROBE, "statistics": [0]}, "statistics[0]"),
    ("probes", {**PROBE, "statistics": [1, 1]}, "statistics[1]"),
    ("probes", {"place": RESID}, "statistics"),
    ("probes", {**PROBE, "moment": 7}, "moment"),
    ("probes", {**PROBE, "keep": [77]}, "keep[0]"),
    ("probes", {**PROBE, "keep": ["AXIS_HEAD"]}, "keep[0]"),
    ("probes", {**PROBE, "keep": ["AXIS_POSITION", "AXIS_POSITION"]}, "keep[1]"),
    ("probes", {**PROBE, "statistics": ["STATISTIC_ENTROPY"]}, "statistics[0]"),
    ("probes", {**PROBE, "quantiles": [0.5, 1.5]}, "quantiles[1]"),
    ("probes", {**PROBE, "quantiles": ["NaN"]}, "quantiles[0]"),
    ("probes", {**PROBE, "histogram": {"bins": 0, "max": 1}}, "histogram.bins"),
    ("probes", {**PROBE, "histogram": {"bins": 5, "min": 1, "max": 1}}, "histogram.max"),
    ("probes", {**PROBE, "histogram": {"bins": 5, "min": -1e308, "max": 1e308}}, "histogram.max"),
    ("captures", {"place": RESID, "dtype": 99}, "dtype"),
    ("captures", {"place": RESID, "moment": -3}, "moment"),
    ("captures", {}, "place.site"),
]
OUTPUTS: list[tuple[dict[str, Any], str]] = [
    ({"logits": {"full": {"dtype": 99}}}, "logits.full.dtype"),
    ({"logits": {"top_k": {"k": 0}}}, "logits.top_k.k"),
    ({"logits": {"top_k": {"k": 1001}}}, "logits.top_k.k"),
    ({"logits": {"ids": {}}}, "logits.ids.ids"),
    ({"block_outputs": {"dtype": 99}}, "block_outputs.dtype"),
]


def cases() -> Iterator[Case]:
    yield from _places()
    yield from _operations()
    yield from _operations_at_sites_where_they_mean_nothing()
    yield from _fields_whose_numbers_are_reserved()
    for kind, entry, field in OBSERVATIONS:
        extra = {key: value for key, value in entry.items() if (key, value) not in PROBE.items()}
        yield run(f"{kind}: {extra or 'nothing'}", {kind: [entry]}, f"{kind}[0].{field}")
    for outputs, field in OUTPUTS:
        yield run(f"{outputs}", outputs, field)


def _places() -> Iterator[Case]:
    path_and_layers = {"path": "blocks.1.hook_k", "where": {"layers": [1]}}
    yield zero("site 999", {"site": 999}, "site")
    yield zero("site -1", {"site": -1}, "site")
    yield edit("no place", {"zero": {}}, "place.site")
    yield zero("site and path", {"site": "SITE_K", "path": "hook_k"}, "path")
    yield zero("layers twice", path_and_layers, "where.layers")
    yield zero("units without choice", {"path": "hook_k", "where": {"units": {}}}, "where.units")


def _operations() -> Iterator[Case]:
    tensor = {"data": floats(WIDTH), "shape": [WIDTH], "dtype": 99}
    yield edit("no operation", {"place": RESID}, "")
    yield run("operation of a later version", _of_a_later_version(), "interventions[0]")
    yield edit("noise of mode 9", {"place": RESID, "noise": {"mode": 9}}, "noise.mode")
    yield edit("tensor of type 99", {"place": RESID, "add": {"tensor": tensor}}, "add.tensor.dtype")


def _of_a_later_version() -> run_pb2.RunRequest:
    """An intervention with a field of the oneof that is not known here: field 31, empty."""
    intervention = run_pb2.RunRequest(interventions=[{"place": {"path": "hook_k"}}])
    request = make_request({"prompts": PROMPTS})
    data = intervention.interventions[0].SerializeToString() + b"\xfa\x01\x00"
    request.interventions.add().MergeFromString(data)
    return request


def _operations_at_sites_where_they_mean_nothing() -> Iterator[Case]:
    for site in ("ln1_scale", "ln2_scale", "ln_f_scale", "head_result"):
        yield zero(f"zero at {site}, which can only be observed", {"path": site}, "site")
    direction = {"direction": {"values": [1, 2, 3, 4]}}
    for site, operation in [
        ("pattern", {"knockout": {}}),
        ("resid_pre", {"knockout": {}}),
        ("attn_scores", {"mean": {}}),
        ("pattern", {"project_out": direction}),
    ]:
        intervention = {"place": {"path": site}, **operation}
        yield edit(f"{next(iter(operation))} at {site}", intervention, "place.site")


def _fields_whose_numbers_are_reserved() -> Iterator[Case]:
    """Operations that are planned, and the mean over other prompts. An old client's stubs may have
    them: nothing is computed as if they were not there. Other unknown fields are ignored."""
    good = make_request({"prompts": PROMPTS, "interventions": [{"place": RESID, "mean": {}}]})
    prompts = make_request({"prompts": PROMPTS}).SerializeToString()
    # Keys and values as on the wire: an empty message each; of the mean, one with an empty prompt.
    fields = {
        "freeze": b"\xa2\x01\x00",
        "subspace": b"\xaa\x01\x00",
        "permute": b"\xb2\x01\x00",
        "mean.reference_prompts": b"\x82\x01\x02\x12\x00",
    }
    for name, field in fields.items():
        intervention = good.interventions[0].SerializeToString() + field
        request = prompts + b"\x1a" + bytes([len(intervention)]) + intervention

        def call(client: Client, request: bytes = request) -> object:
            return send_raw(client, request)

        yield Case(f"reserved number of {name}", call, ("interventions",))
