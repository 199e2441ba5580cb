"""The repeated fields of a message, by path, and messages in which one of them is long."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Path = tuple[str, ...]


def repeated(of: Descriptor, start: Path = ()) -> Iterator[Path]:
    """Every repeated field within a message that may be sent."""
    for field in of.fields:
        path = (*start, field.name)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            yield path
        if field.message_type:
            yield from repeated(field.message_type, path)


def holder(message: Message, path: Path) -> Message | None:
    """The message that holds the field at the end of the path, if it has an element there; of
    repeated fields on the way, their last element."""
    for name in path[:-1]:
        value = getattr(message, name)
        if message.DESCRIPTOR.fields_by_name[name].label == FieldDescriptor.LABEL_REPEATED:
            if not value:
                return None
            message = value[-1]
        elif not message.HasField(name):
            return None
        else:
            message = value
    return message if getattr(message, path[-1]) else None


def of_messages(seed: Message, path: Path) -> bool:
    """Whether the elements at the path are messages."""
    inner = holder(seed, path)
    return inner is not None and bool(inner.DESCRIPTOR.fields_by_name[path[-1]].message_type)


def grown(seed: Message, path: Path, count: int, distinct: bool) -> Message:
    """A copy of the seed with so many elements at the path: those that it has, in turn; or, if
    `distinct`, numbers that count up and names of their own."""
    message = type(seed)()
    message.CopyFrom(seed)
    inner = holder(message, path)
    assert inner is not None
    field = inner.DESCRIPTOR.fields_by_name[path[-1]]
    elements = getattr(inner, path[-1])
    if field.message_type:
        _copies(elements, count, distinct)
        return message
    made = (
        _distinct(field, count) if distinct else [elements[i % len(elements)] for i in range(count)]
    )
    del elements[:]
    elements.extend(made)
    return message


def _distinct(field: FieldDescriptor, count: int) -> list[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return [f"x{i}" for i in range(count)]
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values]
        return [numbers[i % len(numbers)] for i in range(count)]
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return [i / count for i in range(count)]
    return list(range(count))


def _copies(elements: Any, count: int, distinct: bool) -> None:
    have = list(elements)
    for i in range(len(have), count):
        elements.add().CopyFrom(have[i % len(have)])
    for i, element in enumerate(elements):
        if distinct and "name" in element.DESCRIPTOR.fields_by_name:
            element.name = f"x{i}"
