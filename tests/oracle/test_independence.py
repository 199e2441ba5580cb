"""The oracle shares nothing with what it judges: enforced on its files' imports."""

import ast
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent
FIELD = FOLDER.parent / "field"
OWN = {"numpy", "tests.oracle", *sys.stdlib_module_names} - {"importlib"}
# What starts, asks and reports knows the wire by tests/support, and nothing else.
WITH_SUPPORT = OWN | {"grpc", "pytest", "tests.support"}
HARNESS = {"conftest.py", "requests.py", "worker.py"}
DYNAMIC = {"__import__", "exec", "eval", "import_module"}


def imported(tree: ast.Module) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def surplus(path: pathlib.Path, allowed: set[str]) -> set[str]:
    tree = ast.parse(path.read_text())
    bad = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & DYNAMIC
    for name in imported(tree):
        if not any(name == module or name.startswith(module + ".") for module in allowed):
            bad.add(name)
    return bad


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_imports_of_the_oracle(path):
    harness = path.name in HARNESS or path.name.startswith("test_")
    assert not surplus(path, WITH_SUPPORT if harness else OWN)


@pytest.mark.parametrize("path", sorted(FIELD.glob("*.py")), ids=lambda path: path.name)
def test_imports_of_field_cases(path):
    """What a case expects is a number, or HuggingFace's. `tokenizer_folders` only writes
    folders."""
    others = {"torch", "transformers", "tokenizers", "safetensors", "tests.field"}
    others |= {"tests.parity.tokenizer_folders"}
    assert not surplus(path, (WITH_SUPPORT | others) - {"tests.oracle"})


@pytest.mark.parametrize(
    "text",
    [
        "import tests.parity.twin",
        "from tests.parity import places",
        "def f():\n    from scalpel.v1 import site_pb2",
        "import scalpel",
        "from tests.support import client",
        "from tests import parity",
        "__import__('scalpel')",
        "import importlib",
    ],
)
def test_the_rule_sees(tmp_path, text):
    path = tmp_path / "file.py"
    path.write_text(text)
    assert surplus(path, OWN)
