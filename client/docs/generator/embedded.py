"""Code that a page shows from a file."""

from __future__ import annotations

import ast
import pathlib
import re

# `<!-- in_pyvene.py: steer -->`, then the block that is filled with that function.
_SLOT = re.compile(r"<!-- (\w+\.py): (\w+) -->\n```python\n.*?```", re.DOTALL)


def fill(text: str, folder: pathlib.Path) -> str:
    """The page with each block as the function is in its file now."""

    def block(slot: re.Match[str]) -> str:
        file, name = slot.groups()
        return f"<!-- {file}: {name} -->\n```python\n{_function(folder / file, name)}\n```"

    return _SLOT.sub(block, text)


def _function(path: pathlib.Path, name: str) -> str:
    source = path.read_text("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found = ast.get_source_segment(source, node)
            assert found is not None
            return found
        if name == "imports" and isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return "\n".join(source.splitlines()[2 : node.lineno - 1]).strip()
    raise LookupError(f"{path.name} has no {name}")
