"""What a request says, in words short enough for a table."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from scalpel.spec import enum_name
from scalpel.tensors import site_name
from scalpel.v1 import intervention_pb2, place_pb2, tensor_pb2

_LIST_MAX = 8


def place(where: place_pb2.Place) -> str:
    """Such as `resid_post, layer 9, positions -1`."""
    site = where.path or site_name(where.site)
    selection = where.where
    parts = [site]
    for name in ("layers", "heads", "prompts"):
        if values := getattr(selection, name):
            parts.append(_indices(name, list(values)))
    for name in ("units", "positions", "key_positions"):
        if selection.HasField(name):
            parts.append(_selected(name.replace("_", " "), getattr(selection, name)))
    return ", ".join(parts)


def operation(intervention: intervention_pb2.Intervention) -> str:
    """Such as `scale(factor=0.1)`."""
    kind = intervention.WhichOneof("operation")
    if kind is None:
        return ""
    return f"{kind}({_fields(getattr(intervention, kind))})"


def _fields(message: Message) -> str:
    return ", ".join(f"{field.name}={_value(field, v)}" for field, v in message.ListFields())


def _value(field: Any, value: Any) -> str:
    if isinstance(value, tensor_pb2.Tensor):
        size = list(value.shape) or [len(value.values)]
        return f"tensor {size}"
    if isinstance(value, (place_pb2.Positions, place_pb2.Units)):
        return _selected("", value)
    if isinstance(value, Message):
        return f"({_fields(value)})"
    if field.enum_type is not None:
        return enum_name(intervention_pb2.NoiseMode, "NOISE_MODE_", value)
    if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        if len(value) > _LIST_MAX:
            return f"{len(value)} of them"
        return "[" + ", ".join(_value(field, one) for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _indices(name: str, values: list[int]) -> str:
    if len(values) == 1:
        return f"{name[:-1]} {values[0]}"
    if values == list(range(values[0], values[-1] + 1)):
        return f"{name} {values[0]} to {values[-1]}"
    shown = ", ".join(map(str, values[:_LIST_MAX]))
    return f"{name} {shown}{', …' if len(values) > _LIST_MAX else ''}"


def _selected(name: str, chosen: Any) -> str:
    kind = chosen.WhichOneof("kind")
    if kind == "indices":
        return _indices(name or "indices", list(chosen.indices.values))
    if kind == "tokens":
        return f"{name} of tokens {', '.join(map(str, chosen.tokens.ids))}".strip()
    asked = chosen.range
    start = asked.start if asked.HasField("start") else ""
    end = asked.end if asked.HasField("end") else ""
    step = f":{asked.step}" if asked.HasField("step") else ""
    return f"{name} {start}:{end}{step}".strip()
