"""Generated pages are as the generator writes them now, and README.md shows what --help prints."""

import importlib.util
import subprocess

import pytest

from tests.support import environment

_DOCS = environment.ROOT / "client" / "docs"


@pytest.fixture(scope="module")
def generated():
    specification = importlib.util.spec_from_file_location("generate", _DOCS / "generate.py")
    generate = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    return generate.pages()


def test_pages_are_current(generated):
    old = [str(path.relative_to(_DOCS)) for path, text in generated.items() if _read(path) != text]
    assert not old, f"{old}: run python client/docs/generate.py"


def test_no_page_is_left_over(generated):
    there = set((_DOCS / "reference").glob("*.md")) - {_DOCS / "reference" / "README.md"}
    assert there == {path for path in generated if path.parent.name == "reference"}


def test_each_task_stands_in_each_library():
    text = _read(_DOCS / "migration.md")
    for library in ("transformer_lens", "nnsight", "pyvene", "scalpel"):
        assert text.count(f"<!-- in_{library}.py: ") == 12  # ten tasks, imports, loading


def test_readme_shows_all_settings():
    """The block of README.md is what --help prints, from its first heading on."""
    command = [str(environment.server_binary()), "--help"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    settings = printed[printed.index("The model:") :]
    assert f"```text\n{settings}```" in _read(environment.ROOT / "README.md")


def _read(path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
