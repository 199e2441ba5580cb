"""Streams as a hostile or broken server may send them: those of a real one, changed at random."""

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

# Where what counts and what allocates goes wrong.
NUMBERS = [0, 1, -1, 2, 7, 255, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 60, (1 << 63) - 1]
REALS = [float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e308, 1e-310]
TEXTS = ["", "x", "q0.5", "\0", "é" * 1000, "9" * 30]
Responses = list[Message]


def mutated(dice: random.Random, responses: Responses, others: Responses) -> Responses:
    """A copy of the stream with one to three changes. `others`: of streams of the same method."""
    changed = [_copy(response) for response in responses]
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        dice.choice(CHANGES)(dice, changed, others)
    return changed


def _copy(message: Message) -> Message:
    made = type(message)()
    made.CopyFrom(message)
    return made


# ---- of the order ------------------------------------------------------------------------------


def _drop(dice: random.Random, responses: Responses, others: Responses) -> None:
    if responses:
        del responses[dice.randrange(len(responses))]


def _repeat(dice: random.Random, responses: Responses, others: Responses) -> None:
    if responses:
        responses.insert(dice.randint(0, len(responses)), _copy(dice.choice(responses)))


def _swap(dice: random.Random, responses: Responses, others: Responses) -> None:
    if len(responses) > 1:
        one, two = (dice.randrange(len(responses)) for _ in range(2))
        responses[one], responses[two] = responses[two], responses[one]


def _cut(dice: random.Random, responses: Responses, others: Responses) -> None:
    del responses[dice.randint(0, len(responses)) :]


def _insert(dice: random.Random, responses: Responses, others: Responses) -> None:
    responses.insert(dice.randint(0, len(responses)), _copy(dice.choice(others)))


# ---- of a message ------------------------------------------------------------------------------


def _change_bytes(dice: random.Random, responses: Responses, others: Responses) -> None:
    """One that cannot be parsed never comes so far: gRPC itself ends the call."""
    if not responses:
        return
    at = dice.randrange(len(responses))
    data = bytearray(responses[at].SerializeToString())
    for _ in range(dice.randint(1, 4)):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    try:
        responses[at] = type(responses[at]).FromString(bytes(data))
    except DecodeError:
        del responses[at:]


def _change_field(dice: random.Random, responses: Responses, others: Responses) -> None:
    """A field anywhere within a message becomes absent, repeated, or another value."""
    if not responses:
        return
    # Rare events have the most rules, so they are as likely as the many chunks.
    kind = dice.choice([response.WhichOneof("event") for response in responses])
    message = dice.choice([one for one in responses if one.WhichOneof("event") == kind])
    while True:
        fields = [field for field, _ in message.ListFields()]
        if not fields:
            return
        field = dice.choice(fields)
        value: Any = getattr(message, field.name)
        repeated = field.label == FieldDescriptor.LABEL_REPEATED
        if not field.message_type or dice.random() < 0.2:
            break
        message = dice.choice(value) if repeated else value
    _set(dice, message, field, value, repeated)


def _set(
    dice: random.Random, message: Message, field: FieldDescriptor, value: Any, repeated: bool
) -> None:
    how = dice.random()
    if how < 0.2 or (field.message_type and not repeated):
        message.ClearField(field.name)
    elif field.message_type:
        value.add().CopyFrom(dice.choice(value))
    elif repeated:
        value[dice.randrange(len(value))] = _other(dice, field)
        if how < 0.4:
            value.append(_other(dice, field))
    else:
        setattr(message, field.name, _other(dice, field))


def _other(dice: random.Random, field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES
        return dice.randbytes(dice.randrange(64)) if is_bytes else dice.choice(TEXTS)
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return dice.choice(REALS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return dice.random() < 0.5
    number = dice.choice(NUMBERS)
    if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM):
        return (number + (1 << 31)) % (1 << 32) - (1 << 31)
    if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        return number % (1 << 32)
    return number


CHANGES: list[Callable[[random.Random, Responses, Responses], None]] = [
    _drop, _repeat, _swap, _cut, _insert, _change_bytes, *[_change_field] * 6,
]  # fmt: skip
