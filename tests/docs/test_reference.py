"""Generated pages are as the generator writes them now, and README.md shows what --help prints."""

import importlib.util
import re
import subprocess

import pytest

import scalpel
from scalpel.v1 import intervention_pb2, site_pb2, statistic_pb2, sweep_pb2
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


def test_the_readmes_name_every_operation_and_statistic():
    """In the tables of what there is."""
    fields = intervention_pb2.Intervention.DESCRIPTOR.oneofs_by_name["operation"].fields
    operations = {field.name for field in fields}
    statistics = {
        name.removeprefix("STATISTIC_").lower().replace("_", " ")
        for name in statistic_pb2.Statistic.keys()[1:]
    }
    server = _read(environment.ROOT / "README.md")
    client = _read(environment.ROOT / "client" / "python" / "README.md")
    assert operations <= set(re.findall(r"\w+", _row(server, "operations")))
    assert all(name in _row(server, "statistics") for name in statistics)
    assert operations <= set(re.findall(r"`(\w+?)_?`", _row(client, "operations")))


def test_the_client_names_every_metric():
    kinds = {kind.name for kind in sweep_pb2.Metric.DESCRIPTOR.oneofs_by_name["kind"].fields}
    row = _row(_read(environment.ROOT / "client" / "python" / "README.md"), "`metrics=`")
    functions = re.findall(r"`(\w+)`", row)
    samples = {
        "logit_diff": (0, 1), "patching_score": (0, 1), "top_k": (1,),
        **dict.fromkeys(("logit", "log_prob", "prob", "rank"), (0,)),
    }  # fmt: skip
    made = [getattr(scalpel, name)(*samples.get(name, ())).proto for name in functions]
    assert {metric.WhichOneof("kind") for metric in made} == kinds


def test_the_lexicon_has_every_site():
    text = _read(environment.ROOT / "proto" / "README.md")
    table = text[text.index("| site |") :]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    sites = {name.removeprefix("SITE_").lower() for name in site_pb2.Site.keys()[1:]}
    assert set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", first))) == sites


def _row(page: str, name: str) -> str:
    (row,) = re.findall(rf"^\| {name} \| (.*)$", page, re.MULTILINE)
    return row


def _read(path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
