"""An answer as flat named numbers, each with the error it may have: one form for the twin, the
golden files and the server."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from tests.support.client import RunResult, observation_pb2, statistic_pb2, tensor_pb2

Answer = dict[str, "Item"]

# Of activations, relative to the tensor's largest absolute value.
ACTIVATION_TOLERANCE = 1e-5
# Of logits, absolute: what the contract promises at full GPT-2 size.
LOGITS_TOLERANCE = 1e-3
# What rounding to a short type may add, relative to the element: half a unit in the last place
# each, and a tie broken otherwise.
ROUNDING = {tensor_pb2.DATA_TYPE_FLOAT16: 2.0**-10, tensor_pb2.DATA_TYPE_BFLOAT16: 2.0**-7}


@dataclasses.dataclass
class Item:
    """One array of an answer.

    `scale` is what its error is measured by; `allowed` the absolute error that it may have,
    broadcast to it.
    """

    value: np.ndarray
    site: str = ""
    kind: str = ""
    scale: float = 1.0
    allowed: np.ndarray | float = 0.0


def activation(
    value: np.ndarray,
    site: str,
    kind: str,
    dtype: int = tensor_pb2.DATA_TYPE_FLOAT32,
    scale: float = 0.0,
) -> Item:
    """A tensor of activations. Its error is measured by its largest finite absolute value, or by
    `scale` where that is larger: that of the tensor which it is a part of."""
    value = np.asarray(value)
    finite = np.abs(np.where(np.isfinite(value), value, 0))
    scale = max(scale, float(finite.max(initial=0))) or 1.0
    allowed = ACTIVATION_TOLERANCE * scale
    if dtype in ROUNDING:
        allowed = (allowed + ROUNDING[dtype] * finite).astype(np.float32)
        kind = f"{kind}, rounded"
    return Item(value.astype(np.float32), site, kind, scale, allowed)


def key(
    kind: str,
    name: object,
    layer: int | None = None,
    prompts: Iterable[int] = (),
    clean: bool = False,
    detail: str = "",
) -> str:
    """Such as `capture q[0] layer=3 prompts=1 clean std`."""
    words = [kind, str(name)]
    if layer is not None and layer >= 0:
        words.append(f"layer={layer}")
    if prompts := list(prompts):
        words.append("prompts=" + ",".join(map(str, prompts)))
    if clean:
        words.append("clean")
    if detail:
        words.append(detail)
    return " ".join(words)


def of_result(result: RunResult) -> dict[str, np.ndarray]:
    """The server's answer, under the twin's keys."""
    found: dict[str, np.ndarray] = {}

    def put(name: str, value) -> None:
        assert name not in found, f"the server answered {name!r} twice"
        found[name] = np.asarray(value)

    _put_tensors(result, put)
    for seen in result.statistics:
        _put_statistics(seen, put)
    for logits in result.top_logits:
        for at in logits.positions:
            name = key(
                "top_logits", "", None, [logits.prompt], logits.clean, f"position={at.position}"
            )
            put(name, [[token.logit, token.log_prob] for token in at.tokens])
            put(name + " ids", [token.token_id for token in at.tokens])
    for report in result.reports:
        name = key("report", report.index)
        put(name + " sites", report.sites_touched)
        put(name + " selected", report.elements_selected)
        put(name + " changed", report.elements_changed)
        put(name + " max_abs_change", report.max_abs_change)
    return found


def _put_tensors(result: RunResult, put) -> None:
    tuple_place = {
        tensor_id: (output, element)
        for output in result.block_outputs
        for element, tensor_id in enumerate(output.tensor_ids)
    }
    for tensor in result.tensors:
        header = tensor.header
        layer = header.layer if header.HasField("layer") else None
        match header.kind:
            case tensor_pb2.TENSOR_KIND_CAPTURE:
                put(key("capture", header.name, layer, header.prompts, header.clean), tensor.array)
            case tensor_pb2.TENSOR_KIND_LOGITS:
                put(key("logits", "", None, header.prompts, header.clean), tensor.array)
            case tensor_pb2.TENSOR_KIND_HIDDEN_STATES:
                put(
                    key("hidden_states", header.index, None, header.prompts, header.clean),
                    tensor.array,
                )
            case (
                tensor_pb2.TENSOR_KIND_BLOCK_HIDDEN_STATES | tensor_pb2.TENSOR_KIND_BLOCK_ATTENTIONS
            ):
                output, element = tuple_place[header.tensor_id]
                put(
                    key("block_output", element, output.layer, output.prompts, output.clean),
                    tensor.array,
                )
            case _:
                raise AssertionError(f"tensor {header.name!r} is of unknown kind {header.kind}")


def _put_statistics(seen: observation_pb2.ProbeResult, put) -> None:
    name = key(
        "probe",
        seen.name,
        seen.layer if seen.HasField("layer") else None,
        [seen.prompt],
        seen.clean,
    )
    shape = list(seen.shape)
    for entry in seen.statistics:
        put(f"{name} {statistic_name(entry.statistic)}", np.reshape(entry.values, shape))
    for entry in seen.quantiles:
        put(f"{name} quantile={entry.quantile:g}", np.reshape(entry.values, shape))
    if seen.HasField("histogram"):
        put(f"{name} counts", np.reshape(seen.histogram.counts, [*shape, -1]))
        put(f"{name} below", np.reshape(seen.histogram.below, shape))
        put(f"{name} above", np.reshape(seen.histogram.above, shape))


def statistic_name(statistic: int) -> str:
    return statistic_pb2.Statistic.Name(statistic).removeprefix("STATISTIC_").lower()


@dataclasses.dataclass
class Difference:
    """How far one array is from what it should be."""

    key: str
    site: str
    kind: str
    relative: float  # largest error, by the item's scale
    excess: float  # largest error over what is allowed; above 1 is a failure


def compare(want: Answer, got: dict[str, np.ndarray]) -> list[Difference]:
    """Differences of every array. Missing, surplus and misshapen arrays are errors at once."""
    missing, surplus = sorted(want.keys() - got.keys()), sorted(got.keys() - want.keys())
    assert not missing and not surplus, (
        f"missing from the answer: {missing[:5]}; not asked for: {surplus[:5]}"
    )
    return [difference(name, item, got[name]) for name, item in want.items()]


def difference(name: str, item: Item, got: np.ndarray) -> Difference:
    assert got.shape == item.value.shape, f"{name}: shape {got.shape}, not {item.value.shape}"
    want, got = item.value.astype(np.float64), got.astype(np.float64)
    # Where any error is allowed, the number means nothing.
    same = (want == got) | (np.isnan(want) & np.isnan(got)) | np.isinf(item.allowed)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(same, 0.0, np.abs(got - want))
        error = np.where(np.isnan(error), np.inf, error)
        excess = np.where(error == 0, 0.0, error / item.allowed)
    return Difference(
        name,
        item.site,
        item.kind,
        float(error.max(initial=0)) / item.scale,
        float(excess.max(initial=0)),
    )
