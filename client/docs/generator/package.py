"""The Python client's pages, from its signatures and docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import scalpel

# Page: its title, and what stands on it: a module's names, or all that `scalpel` exports from it.
_Names = tuple[str, ...] | None
_EVENTS = (
    "Started", "LayerStatistics", "ProbeResult", "Histogram", "BlockOutput", "Prediction",
    "TokenLogit", "Report", "Finished", "FirstNonFinite", "SweepStarted", "SweepAxis", "SweepClean",
    "Variant", "MetricValue", "SweepProgress", "Tokens", "Cost",
)  # fmt: skip
_EDITS = (
    "zero", "scale", "add", "set_", "noise", "clamp", "mean", "project_out", "knockout", "patch",
)  # fmt: skip
_PATCHES = tuple(
    f"get_act_patch_{name}"
    for name in (
        "resid_pre", "resid_mid", "attn_out", "mlp_out", "block_every",
        "attn_head_out_by_pos", "attn_head_q_by_pos", "attn_head_k_by_pos", "attn_head_v_by_pos",
        "attn_head_pattern_by_pos", "attn_head_pattern_dest_src_pos", "attn_head_by_pos_every",
        "attn_head_out_all_pos", "attn_head_q_all_pos", "attn_head_k_all_pos",
        "attn_head_v_all_pos", "attn_head_pattern_all_pos", "attn_head_all_pos_every",
    )
)  # fmt: skip
_GENERATION_EVENTS = (
    "GenerationStarted", "StreamInfo", "StepStatistics", "StepTensor", "StepLogits",
    "GeneratedToken", "StreamFinished",
)  # fmt: skip
_PAGES: dict[str, tuple[str, tuple[tuple[str, _Names], ...]]] = {
    "python-client.md": (
        "Connecting and calling",
        (
            ("scalpel.model", None),
            ("scalpel.streams", ("Stream",)),
            ("scalpel.connection", None),
            ("scalpel.aio", ("connect",)),
            ("scalpel.spread", ("connect", "Replicas", "Executor", "RayExecutor")),
            ("scalpel.info", None),
            ("scalpel.request_files", None),
        ),
    ),
    "python-requests.md": (
        "What goes into a request",
        (
            ("scalpel.prompts", ()),
            ("scalpel.place", None),
            ("scalpel.operations", None),
            ("scalpel.nodes", None),
            ("scalpel.observations", None),
            ("scalpel.axes", None),
            ("scalpel.metrics", None),
        ),
    ),
    "python-results.md": (
        "What comes back",
        (
            ("scalpel.run_result", None),
            ("scalpel.sweep_result", None),
            ("scalpel.patching", None),
            ("scalpel.paths", None),
            ("scalpel.generation_result", None),
            ("scalpel.generated_stream", ("GeneratedStream", "Pair")),
            ("scalpel.stats", ("Stats",)),
            ("scalpel.tensors", None),
            ("scalpel.events", _EVENTS),
            ("scalpel.generation_events", _GENERATION_EVENTS),
        ),
    ),
    "python-figures.md": (
        "Figures and pages",
        (
            (
                "scalpel.plots",
                (
                    "stat_by_layer",
                    "stat_by_step",
                    "heat_map",
                    "attention",
                    "dose_response",
                    "lens_table",
                ),
            ),
            ("scalpel.study", ("logit_lens", "LogitLens", "study_page")),
        ),
    ),
    "python-lens.md": (
        "Under TransformerLens' names",
        (
            ("scalpel.lens", ("connect",)),
            ("scalpel.lens.hooked_transformer", ("HookedTransformer", "Output")),
            ("scalpel.lens.tokenization", ("Tokenization",)),
            ("scalpel.lens.config", ("HookedTransformerConfig",)),
            ("scalpel.lens.arrays", ()),
            ("scalpel.lens.names", ("get_act_name",)),
            ("scalpel.lens.activation_cache", ("ActivationCache",)),
            ("scalpel.lens.stacks", ("ResidualStacks",)),
            ("scalpel.lens.slices", ("Slice",)),
            ("scalpel.lens.edits", _EDITS),
            ("scalpel.lens.patching", _PATCHES),
        ),
    ),
    "python-errors.md": (
        "Errors",
        (("scalpel.errors", None), ("scalpel.notes", ("TokenWarning",))),
    ),
}
_WIDTH = 96


def pages() -> dict[str, str]:
    """File name to Markdown."""
    made, shown = {}, {"aio", "spread"}
    for page, (title, parts) in _PAGES.items():
        lines = [f"# {title}", ""]
        lines += ["Generated from the docstrings by `client/docs/generate.py`.", ""]
        for module_name, names in parts:
            module = importlib.import_module(module_name)
            exported = [n for n in scalpel.__all__ if _module_of(n) == module_name]
            chosen = sorted(exported, key=_place_in_source) if names is None else names
            shown.update(chosen)
            lines += _module(module, chosen)
        made[page] = "\n".join(lines).rstrip() + "\n"
    if missing := set(scalpel.__all__) - shown:
        raise LookupError(f"on no page: {sorted(missing)}; name their modules in {__file__}")
    return made


def _aliases(source: str) -> Iterator[str]:
    """Names for types, and the comments above them."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        comment = lines[node.lineno - 2]
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name[0].isupper() and not name.isupper() and comment.startswith("# "):
                yield f"| `{name}` | {_cell(comment[2:])} |"


def _module_of(name: str) -> str:
    return str(getattr(getattr(scalpel, name), "__module__", ""))


def _place_in_source(name: str) -> int:
    return inspect.getsourcelines(getattr(scalpel, name))[1]


def _module(module: ModuleType, names: Any) -> Iterator[str]:
    yield from (f"## {module.__name__}", "", _prose(inspect.getdoc(module) or ""), "")
    if aliases := list(_aliases(inspect.getsource(module))):
        yield from ("| type in signatures | |", "|---|---|", *aliases, "")
    for name in names:
        thing = getattr(module, name)
        known = getattr(scalpel, name, None) is thing
        full = name if known else f"{module.__name__.partition('.')[2]}.{name}"
        yield from (f"### {full}", "")
        yield from _class(thing, module) if inspect.isclass(thing) else _function(thing, name)


def _function(function: Any, name: str, doc: str | None = None) -> Iterator[str]:
    yield from ("```python", _signature(function, name), "```", "")
    yield from (_prose(inspect.getdoc(function) or "" if doc is None else doc), "")


def _class(cls: Any, module: ModuleType) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__bases__ if base.__name__ not in _PLAIN_BASES]
    text = inspect.getdoc(cls) or ""
    yield from (_prose(text + (f"\n\nA `{'`, `'.join(bases)}`." if bases else "")), "")
    if "__init__" in vars(cls) and inspect.getdoc(vars(cls)["__init__"]) and cls.__init__.__doc__:
        yield from _function(cls.__init__, cls.__name__)
    attributes = _attributes(cls, module)
    properties = {
        name: inspect.getdoc(value) or ""
        for name, value in vars(cls).items()
        if isinstance(value, property) and not name.startswith("_")
    }
    if attributes or properties:
        yield from ("| attribute | |", "|---|---|")
        for name, about in {**attributes, **properties}.items():
            yield f"| `{name}` | {_cell(about)} |"
        yield ""
    for name in _in_order(cls):
        value = vars(cls)[name]
        if isinstance(value, (classmethod, staticmethod)):
            value = getattr(cls, name)
        if inspect.isroutine(value) and not name.startswith("_") and inspect.getdoc(value):
            yield from (f"#### {cls.__name__}.{name}", "")
            yield from _function(value, name)


def _in_order(cls: Any) -> list[str]:
    """Its own names; first those that are also a base's, which is where they are written."""
    bases_first = (*cls.__mro__[1:], cls)
    return [n for n in dict.fromkeys(n for one in bases_first for n in vars(one)) if n in vars(cls)]


_PLAIN_BASES = (
    "object", "Generic", "Protocol", "Spec", "Caller", "Methods", "SweepMethods", "Blocking",
    "Awaited", "Served", "dict", "Sequence", "TypedDict", "Exception",
)  # fmt: skip


def _attributes(cls: Any, module: ModuleType) -> dict[str, str]:
    """The docstrings that stand under attributes in the source."""
    found: dict[str, str] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef) or node.name != cls.__name__:
            continue
        for one, after in itertools.pairwise(node.body):
            if (
                isinstance(one, ast.AnnAssign)
                and isinstance(one.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[one.target.id] = str(after.value.value)
    return found


def _signature(function: Any, name: str) -> str:
    """As in the source: annotations as written, one parameter a line where it is long."""
    signature = inspect.signature(function)
    parts = []
    starred = False
    for one in signature.parameters.values():
        if one.name in ("self", "cls") and not parts:
            continue
        if one.kind is one.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        parts.append(_parameter(one))
    made = signature.return_annotation
    result = "" if made is signature.empty else f" -> {_annotation(made)}"
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){result}"])


def _parameter(one: inspect.Parameter) -> str:
    if one.kind is one.VAR_KEYWORD:
        return "**where" if one.name == "where" else f"**{one.name}"
    stars = "*" if one.kind is one.VAR_POSITIONAL else ""
    known = one.annotation is not one.empty
    text = f"{stars}{one.name}" + (f": {_annotation(one.annotation)}" if known else "")
    if one.default is one.empty:
        return text
    default = one.default
    shown = f"{type(default).__name__}()" if "(" in repr(default) and default else repr(default)
    return f"{text} = {'()' if default == () else shown}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "Any")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# `name: what it is` at the beginning of a line; its further lines are indented.
_ARGUMENT = re.compile(r"^([a-z]\w*(?:, \w+)*): ")


def _prose(doc: str) -> str:
    """A docstring as Markdown: examples as code, arguments as a list, lines joined."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(doc)):
        lines = block.splitlines()
        if lines and lines[0].startswith(">>>"):
            code = [re.sub(r"^(>>>|\.\.\.) ?", "", line) for line in lines]
            out.append("\n".join(["```python", *code, "```"]))
        elif lines and _ARGUMENT.match(lines[0]):
            out.append("\n".join(_arguments(lines)))
        else:
            out.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(out)


def _arguments(lines: list[str]) -> Iterator[str]:
    item = ""
    for line in lines:
        match = _ARGUMENT.match(line)
        if match:
            if item:
                yield item
            names = ", ".join(f"`{name}`" for name in match[1].split(", "))
            item = f"- {names}: {line[match.end() :].strip()}"
        else:
            item += " " + line.strip()
    yield item
