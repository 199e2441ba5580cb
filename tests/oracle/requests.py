"""The one file that knows the wire: a spec, field by field, as the request that a user would send;
and the answer as plain data, under the oracle's keys."""

from typing import Any

import grpc
import numpy as np

from tests.oracle.interpret import Answer
from tests.support.client import (
    Client,
    RunResult,
    intervention_pb2,
    model_pb2,
    observation_pb2,
    output_pb2,
    place_pb2,
    run_pb2,
    site_pb2,
    statistic_pb2,
    tensor_pb2,
)

_STATISTIC: dict[str, Any] = {
    name.removeprefix("STATISTIC_").lower(): number
    for name, number in statistic_pb2.Statistic.items()
}
_AXIS: dict[str, Any] = {
    name.removeprefix("AXIS_").lower(): number for name, number in site_pb2.Axis.items()
}
_MOMENT = {"before": site_pb2.MOMENT_BEFORE, "after": site_pb2.MOMENT_AFTER}
_DTYPE = {
    "float32": tensor_pb2.DATA_TYPE_FLOAT32,
    "float16": tensor_pb2.DATA_TYPE_FLOAT16,
    "bfloat16": tensor_pb2.DATA_TYPE_BFLOAT16,
}


def served_names(client: Client) -> list[str]:
    """Every name by which the server says that a site can be called."""
    return [name for site in client.model().sites for name in names_of(site)]


def names_of(site: model_pb2.SiteInfo) -> list[str]:
    return [site.name, *site.facts.aliases, *site.facts.observe_only_aliases]


# ---- a spec as a request


def request(spec: dict) -> run_pb2.RunRequest:
    out = run_pb2.RunRequest()
    for tokens in spec["prompts"]:
        out.prompts.add().token_ids.ids.extend(tokens)
    if "seed" in spec:
        out.seed = spec["seed"]
    for edit in spec.get("edits", []):
        _edit(edit, out.interventions.add())
    for index, capture in enumerate(spec.get("captures", [])):
        message = out.captures.add(name=f"{index}", dtype=_DTYPE[capture.get("dtype", "float32")])
        _look(capture, message)
    for index, probe in enumerate(spec.get("probes", [])):
        _probe(probe, out.probes.add(name=f"{index}"))
    if "logits" in spec:
        _logits(spec["logits"], out.logits)
    if spec.get("block_outputs") is not None:
        out.block_outputs.layers.extend(spec["block_outputs"])
        out.block_outputs.SetInParent()
    out.output_attentions = bool(spec.get("attentions"))
    out.output_hidden_states = bool(spec.get("hidden_states"))
    out.include_clean_run = bool(spec.get("include_clean_run"))
    return out


def _place(said: dict, out: place_pb2.Place) -> None:
    out.path = said["path"]
    out.where.layers.extend(said.get("layers") or [])
    out.where.heads.extend(said.get("heads") or [])
    out.where.prompts.extend(said.get("prompts") or [])
    _indices(said.get("units"), out.where, "units")
    _indices(said.get("positions"), out.where, "positions")
    _indices(said.get("keys"), out.where, "key_positions")


def _indices(asked: Any, parent: Any, field: str) -> None:
    """A list, a range or tokens, as Units or Positions."""
    if asked is None:
        return
    out = getattr(parent, field)
    if isinstance(asked, list):
        out.indices.values.extend(asked)
    elif "tokens" in asked:
        out.tokens.ids.extend(asked["tokens"])
    else:
        out.range.SetInParent()
        for name, bound in (("start", "start"), ("stop", "end"), ("step", "step")):
            if name in asked:
                setattr(out.range, bound, asked[name])


def _tensor(value: Any, out: tensor_pb2.Tensor) -> None:
    array = np.asarray(value, "<f4")
    out.shape.extend(array.shape)
    if array.size % 2:
        out.values.extend(array.ravel().tolist())
    else:
        out.dtype, out.data = tensor_pb2.DATA_TYPE_FLOAT32, array.tobytes()


def _edit(edit: dict, out: intervention_pb2.Intervention) -> None:
    _place(edit, out.place)
    operation = getattr(out, edit["op"])
    operation.SetInParent()
    for name in ("factor", "coefficient", "std", "seed", "min", "max"):
        if name in edit:
            setattr(operation, name, edit[name])
    if "mean" in edit:
        operation.mean = edit["mean"]
    if "mode" in edit:
        operation.mode = intervention_pb2.NoiseMode.Value(f"NOISE_MODE_{edit['mode'].upper()}")
    if "value" in edit:
        if np.ndim(edit["value"]) == 0:
            operation.constant = edit["value"]
        else:
            _tensor(edit["value"], operation.tensor)
    if "direction" in edit:
        _tensor(edit["direction"], operation.direction)
    _indices(edit.get("over"), operation, "over")
    for query, key in edit.get("pairs") or []:
        operation.pairs.add(query=query, key=key)
    if edit["op"] == "patch":
        _patch(edit, operation)


def _patch(edit: dict, out: intervention_pb2.Patch) -> None:
    for name, field in (("prompt", "prompt"), ("clean", "clean_prompt")):
        if name in edit["source"]:
            setattr(out, field, edit["source"][name])
    _indices(edit.get("from_positions"), out, "positions")
    _indices(edit.get("from_keys"), out, "key_positions")
    out.heads.extend(edit.get("from_heads") or [])
    if edit.get("from_layer") is not None:
        out.layer = edit["from_layer"]


def _look(said: dict, out: Any) -> None:
    _place(said, out.place)
    if "moment" in said:
        out.moment = _MOMENT[said["moment"]]


def _probe(probe: dict, out: observation_pb2.Probe) -> None:
    _look(probe, out)
    out.statistics.extend(_STATISTIC[name] for name in probe.get("statistics", []))
    out.keep.extend(_AXIS[name] for name in probe.get("keep", []))
    out.quantiles.extend(probe.get("quantiles", []))
    if "histogram" in probe:
        for name, value in probe["histogram"].items():
            setattr(out.histogram, name, value)


def _logits(asked: dict, out: output_pb2.LogitsRequest) -> None:
    _indices(asked.get("positions"), out, "positions")
    if asked.get("full"):
        out.full.SetInParent()
    elif asked.get("none"):
        out.none.SetInParent()
    elif "ids" in asked:
        out.ids.ids.extend(asked["ids"])
    else:
        out.top_k.k = asked.get("top_k", 10)


# ---- an answer as plain data


def ask(client: Client, spec: dict) -> Answer | grpc.RpcError:
    """What the server answers, or the error by which it refuses the spec."""
    try:
        return answer(client.run(request(spec)))
    except grpc.RpcError as error:
        return error


def is_refusal(answered: Any) -> bool:
    """Whether an answer is the error that a spec without meaning must get."""
    return (
        isinstance(answered, grpc.RpcError) and answered.code() == grpc.StatusCode.INVALID_ARGUMENT
    )


def is_error(answered: Any) -> bool:
    return isinstance(answered, grpc.RpcError)


def answer(result: RunResult) -> Answer:
    found: Answer = {}
    blocks = {
        tensor_id: (output.layer, element)
        for output in result.block_outputs
        for element, tensor_id in enumerate(output.tensor_ids)
    }
    for tensor in result.tensors:
        _put_tensor(found, tensor.header, tensor.array, blocks)
    for seen in result.statistics:
        layer = seen.layer if seen.HasField("layer") else None
        _put(found, ("probe", int(seen.name), layer, seen.prompt, seen.clean), _of_probe(seen))
    for logits in result.top_logits:
        _put(
            found,
            ("tokens", logits.prompt, logits.clean),
            [
                (at.position, [(t.token_id, t.logit, t.log_prob) for t in at.tokens])
                for at in logits.positions
            ],
        )
    for report in result.reports:
        _put(
            found,
            ("report", report.index),
            {
                "sites": report.sites_touched,
                "selected": report.elements_selected,
                "changed": report.elements_changed,
                "largest change": report.max_abs_change,
            },
        )
    return found


def _put(found: Answer, key: tuple, value: Any) -> None:
    assert key not in found, f"the server answered {key} twice"
    found[key] = value


def _put_tensor(
    found: Answer, header: tensor_pb2.TensorHeader, array: np.ndarray, blocks: dict
) -> None:
    if header.kind in (tensor_pb2.TENSOR_KIND_CAPTURE, tensor_pb2.TENSOR_KIND_LOGITS):
        (prompt,) = header.prompts
        value = array, [_labels(axis) for axis in header.axes]
        if header.kind == tensor_pb2.TENSOR_KIND_LOGITS:
            _put(found, ("logits", prompt, header.clean), value)
        else:
            layer = header.layer if header.HasField("layer") else None
            _put(found, ("capture", int(header.name), layer, prompt, header.clean), value)
        return
    for row, prompt in enumerate(header.prompts):
        if header.kind == tensor_pb2.TENSOR_KIND_HIDDEN_STATES:
            key = ("hidden", header.index)
        else:
            key = ("block", *blocks[header.tensor_id])
        _put(found, (*key, prompt, header.clean), array[row])


def _labels(axis: site_pb2.AxisIndices) -> tuple[str, list[int]]:
    """An axis, and the indices along it: evenly spaced, or listed."""
    name = site_pb2.Axis.Name(axis.axis).removeprefix("AXIS_").lower()
    evenly = [axis.start + i * axis.step for i in range(axis.count)]
    return name, list(axis.values) or evenly


def _of_probe(seen: observation_pb2.ProbeResult) -> dict:
    shape = list(seen.shape)
    names = {number: name for name, number in _STATISTIC.items()}
    found: dict[Any, Any] = {
        names[entry.statistic]: np.reshape(entry.values, shape) for entry in seen.statistics
    }
    found |= {entry.quantile: np.reshape(entry.values, shape) for entry in seen.quantiles}
    if seen.HasField("histogram"):
        found["histogram"] = (
            np.reshape(seen.histogram.counts, [*shape, -1]),
            np.reshape(seen.histogram.below, shape),
            np.reshape(seen.histogram.above, shape),
        )
    found["axes"] = [_labels(axis) for axis in seen.axes]
    return found
