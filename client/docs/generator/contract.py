"""The contract's pages, from proto/scalpel/v1."""

from __future__ import annotations

import pathlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from scalpel.tensors import site_axes
from scalpel.v1 import options_pb2, site_pb2

# Field numbers in descriptor.proto, of which paths to comments are made.
_SYNTAX, _MESSAGE, _ENUM, _SERVICE = 12, 4, 5, 6
_FIELD, _METHOD, _VALUE, _ONEOF = 2, 2, 2, 8
_FIELD_TYPE = descriptor_pb2.FieldDescriptorProto


def pages(proto: pathlib.Path) -> dict[str, str]:
    """File name to Markdown."""
    files = _compile(proto)
    known = {}
    for file in files:
        for one in (*file.message_type, *file.enum_type):
            known[f".{file.package}.{one.name}"] = f"{_page(file)}#{one.name.lower()}"
    return {_page(file): "\n".join(_File(file, known).lines()) for file in files}


def _page(file: descriptor_pb2.FileDescriptorProto) -> str:
    return f"proto-{pathlib.Path(file.name).stem}.md"


def _compile(proto: pathlib.Path) -> list[descriptor_pb2.FileDescriptorProto]:
    sources = sorted(str(path) for path in (proto / "scalpel" / "v1").glob("*.proto"))
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "descriptors")
        arguments = [f"-I{proto}", f"-I{well_known}", "--include_source_info"]
        if protoc.main(["protoc", *arguments, f"--descriptor_set_out={out}", *sources]) != 0:
            raise RuntimeError("protoc failed; its messages stand above")
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


class _File:
    """One file and its comments. `known`: where messages and enums are described."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto, known: dict[str, str]):
        self._file, self._known = file, known
        locations = file.source_code_info.location
        self._comments = {tuple(one.path): one.leading_comments for one in locations}

    def lines(self) -> Iterator[str]:
        """The page."""
        yield f"# {self._file.name}"
        yield from ("", "Generated from the comments of the file by `client/docs/generate.py`.", "")
        yield self._paragraphs(_SYNTAX)
        for i, service in enumerate(self._file.service):
            yield from self._service(i, service)
        for i, message in enumerate(self._file.message_type):
            yield from self._message(i, message)
        for i, enum in enumerate(self._file.enum_type):
            yield from self._enum(i, enum)

    def _service(self, i: int, service: Any) -> Iterator[str]:
        yield from (f"## {service.name}", "", self._paragraphs(_SERVICE, i))
        for j, method in enumerate(service.method):
            yield from (f"### {method.name}", "")
            stream = "stream of " if method.server_streaming else ""
            given, made = self._link(method.input_type), self._link(method.output_type)
            role = method.options.Extensions[options_pb2.least_role]
            needs = f"needs the role `{_lower(options_pb2.Role, role)}`"
            yield from (f"{given} → {stream}{made}, {needs}", "")
            yield self._paragraphs(_SERVICE, i, _METHOD, j)

    def _message(self, i: int, message: Any) -> Iterator[str]:
        yield from (f"## {message.name}", "", self._paragraphs(_MESSAGE, i))
        if not message.field:
            return
        limits = message.name == "Limits"
        yield "| field | type | " + ("default | may be | |" if limits else "|")
        yield "|---|---|---|" + ("---|---|" if limits else "")
        group = None
        for j, field in enumerate(message.field):
            inside = _oneof(field)
            if inside is not None and inside != group:
                about = self._cell(_MESSAGE, i, _ONEOF, inside)
                yield f"| *one of:* | | *{message.oneof_decl[inside].name}*: {about} |"
            group = inside
            name = f"· `{field.name}`" if inside is not None else f"`{field.name}`"
            middle = f" {_limit_facts(field)} |" if limits else ""
            about = self._cell(_MESSAGE, i, _FIELD, j)
            yield f"| {name} | {self._type(field)} |{middle} {about} |"
        yield ""

    def _enum(self, i: int, enum: Any) -> Iterator[str]:
        yield from (f"## {enum.name}", "", self._paragraphs(_ENUM, i))
        facts = enum.name == "Site"
        yield "| value | number | " + ("axes | names elsewhere | |" if facts else "|")
        yield "|---|---|---|" + ("---|---|" if facts else "")
        for j, value in enumerate(enum.value):
            about = self._cell(_ENUM, i, _VALUE, j)
            middle = f" {_site_facts(value.number)} |" if facts else ""
            yield f"| `{value.name}` | {value.number} |{middle} {about} |"
        yield ""

    def _type(self, field: Any) -> str:
        if field.type_name:
            name = self._link(field.type_name)
        else:
            name = _FIELD_TYPE.Type.Name(field.type).removeprefix("TYPE_").lower()
        if field.label == _FIELD_TYPE.LABEL_REPEATED:
            return f"repeated {name}"
        return f"optional {name}" if field.proto3_optional else name

    def _link(self, type_name: str) -> str:
        short = type_name.rpartition(".")[2]
        return f"[{short}]({self._known[type_name]})"

    def _paragraphs(self, *path: int) -> str:
        """A comment as paragraphs, its line breaks undone."""
        parts = re.split(r"\n\s*\n", self._comments.get(path, "").strip())
        return "\n\n".join(" ".join(part.split()) for part in parts) + "\n"

    def _cell(self, *path: int) -> str:
        return " ".join(self._comments.get(path, "").split()).replace("|", "\\|")


def _oneof(field: Any) -> int | None:
    real = field.HasField("oneof_index") and not field.proto3_optional
    return field.oneof_index if real else None


def _limit_facts(field: Any) -> str:
    facts = field.options.Extensions[options_pb2.limit]
    return f"{facts.default_value:,} | {facts.least:,} to {facts.most:,}"


def _lower(enum: Any, number: int) -> str:
    name: str = enum.Name(number)
    return name.partition("_")[2].lower()


def _site_facts(site: int) -> str:
    value = site_pb2.Site.DESCRIPTOR.values_by_number[site]
    facts = value.GetOptions().Extensions[site_pb2.site]
    names = _code(facts.aliases)
    if facts.observe_only_aliases:
        names += f"; to observe: {_code(facts.observe_only_aliases)}"
    return f"{', '.join(site_axes(site))} | {names}"


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
