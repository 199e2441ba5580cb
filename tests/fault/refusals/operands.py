"""Numbers and tensors that no operation can use."""

import base64
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from scalpel.v1 import intervention_pb2, run_pb2, tensor_pb2
from tests.fault.calls import CONFIG
from tests.fault.refusals.case import INT64_MAX, PROMPTS, RESID, Case, edit, run
from tests.support.client import make_request

NAN, INF = math.nan, math.inf
WIDTH = CONFIG["n_embd"]


def with_operation(operation: intervention_pb2.Intervention, **fields: Any) -> run_pb2.RunRequest:
    """A request with one intervention, as a message: JSON cannot say every number."""
    request = make_request({"prompts": PROMPTS, "interventions": [{"place": RESID}], **fields})
    request.interventions[0].MergeFrom(operation)
    return request


def floats(count: int) -> str:
    """That many numbers as `data` of a tensor."""
    return base64.b64encode(struct.pack(f"<{count}f", *range(1, count + 1))).decode()


def _op(**operation: Any) -> intervention_pb2.Intervention:
    return intervention_pb2.Intervention(**operation)


def _tensor(*values: float) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(values=values)


NUMBERS: dict[str, Callable[[float], intervention_pb2.Intervention]] = {
    "scale.factor": lambda x: _op(scale=intervention_pb2.Scale(factor=x)),
    "add.constant": lambda x: _op(add=intervention_pb2.Add(constant=x)),
    "add.coefficient": lambda x: _op(add=intervention_pb2.Add(constant=1, coefficient=x)),
    "set.constant": lambda x: _op(set=intervention_pb2.Set(constant=x)),
    "noise.mean": lambda x: _op(noise=intervention_pb2.Noise(mean=x)),
    "noise.std": lambda x: _op(noise=intervention_pb2.Noise(std=x)),
    "clamp.min": lambda x: _op(clamp=intervention_pb2.Clamp(min=x)),
    "clamp.max": lambda x: _op(clamp=intervention_pb2.Clamp(max=x)),
    "project_out.factor": lambda x: _op(
        project_out=intervention_pb2.ProjectOut(direction=_tensor(*[1] * WIDTH), factor=x)
    ),
}
TENSORS: dict[str, Callable[[float], intervention_pb2.Intervention]] = {
    "add.tensor": lambda x: _op(add=intervention_pb2.Add(tensor=_tensor(x))),
    "set.tensor": lambda x: _op(set=intervention_pb2.Set(tensor=_tensor(x))),
    "project_out.direction": lambda x: _op(
        project_out=intervention_pb2.ProjectOut(direction=_tensor(x, *[1] * (WIDTH - 1)))
    ),
}
MISSING = {
    "no factor": ("scale.factor", _op(scale=intervention_pb2.Scale())),
    "nothing to add": ("add", _op(add=intervention_pb2.Add())),
    "nothing to set": ("set", _op(set=intervention_pb2.Set())),
    "no bound": ("clamp", _op(clamp=intervention_pb2.Clamp())),
    "bounds that cross": ("clamp.min", _op(clamp=intervention_pb2.Clamp(min=2, max=1))),
    "no source": ("patch", _op(patch=intervention_pb2.Patch())),
    "no direction": ("project_out.direction", _op(project_out=intervention_pb2.ProjectOut())),
    "direction of no length": (
        "project_out.direction",
        _op(project_out=intervention_pb2.ProjectOut(direction=_tensor(*[0] * WIDTH))),
    ),
    "direction of another width": (
        "project_out.direction",
        _op(project_out=intervention_pb2.ProjectOut(direction=_tensor(1, 2))),
    ),
}
# Tensors that are not what their shape says, and the part of `tensor` that is refused.
SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "more than its shape": ({"data": floats(WIDTH), "shape": [WIDTH - 1]}, ""),
    "less than its shape": ({"data": floats(WIDTH), "shape": [WIDTH, 2]}, ""),
    "twice its type": (
        {"data": floats(WIDTH), "shape": [WIDTH], "dtype": "DATA_TYPE_FLOAT16"},
        "",
    ),
    "part of an element": (
        {"data": base64.b64encode(b"\0" * (4 * WIDTH - 1)).decode(), "shape": [WIDTH]},
        ".data",
    ),
    "no shape": ({"data": floats(WIDTH)}, ".shape"),
    "axis of none": ({"data": floats(WIDTH), "shape": [WIDTH, 0]}, ".shape[1]"),
    "axis below none": ({"data": floats(WIDTH), "shape": [-WIDTH]}, ".shape[0]"),
    "two axes below none": ({"data": floats(WIDTH), "shape": [-1, -WIDTH]}, ".shape[0]"),
    "2^64 elements": ({"data": floats(1), "shape": [str(1 << 32), str(1 << 32)]}, ".shape"),
    "2^62 times 4": ({"data": floats(1), "shape": [str(1 << 62), 4]}, ".shape"),
    "2^63 - 1 times 3": ({"data": floats(1), "shape": [str(INT64_MAX), 3]}, ".shape"),
    "2^64 bytes": ({"data": floats(4), "shape": [str(1 << 62)]}, ".shape"),
    "100 axes": ({"data": floats(1), "shape": [1] * 100}, ".shape"),
    "values beyond its shape": ({"values": [1, 2, 3], "shape": [2]}, ""),
    "values and data": (
        {"values": [1] * WIDTH, "data": floats(WIDTH), "shape": [WIDTH]},
        "",
    ),
    "neither values nor data": ({"shape": [WIDTH]}, ""),
    "three values for a width": ({"values": [1, 2, 3]}, ""),
    "five positions of four": ({"data": floats(WIDTH * 5), "shape": [5, WIDTH]}, ""),
}


def cases() -> Iterator[Case]:
    yield from _numbers_that_float32_does_not_hold()
    yield from _negative_spread()
    yield from _directions_that_point_nowhere()
    for name, (field, operation) in MISSING.items():
        yield run(name, with_operation(operation), f"interventions[0].{field}")
    for name, (tensor, part) in SHAPES.items():
        for operation in ("add", "set"):
            intervention = {"place": RESID, operation: {"tensor": tensor}}
            field = f"{operation}.tensor{part}"
            yield edit(f"{operation} of a tensor: {name}", intervention, field)


def _numbers_that_float32_does_not_hold() -> Iterator[Case]:
    wrong = {
        **{field: [NAN, INF, -INF, 1e-310, 1e-40, -1e-40, 1e39, -1e39] for field in NUMBERS},
        **{field: [NAN, INF, -INF, 1e-40] for field in TENSORS},
    }
    for field, numbers in wrong.items():
        for number in numbers:
            request = with_operation({**NUMBERS, **TENSORS}[field](number))
            yield run(f"{field} of {number}", request, f"interventions[0].{field}")


def _directions_that_point_nowhere() -> Iterator[Case]:
    """No flag admits them."""
    for number in (NAN, INF, -INF):
        request = with_operation(TENSORS["project_out.direction"](number), allow_non_finite=True)
        name = f"direction with {number}, though not finite numbers are admitted"
        yield run(name, request, "interventions[0].project_out.direction")


def _negative_spread() -> Iterator[Case]:
    """No flag admits it."""
    for admitted in (False, True):
        request = with_operation(NUMBERS["noise.std"](-1), allow_non_finite=admitted)
        name = "negative spread" + (", though not finite ones are admitted" if admitted else "")
        yield run(name, request, "interventions[0].noise.std")
