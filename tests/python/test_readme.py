"""What the README shows works as it is written, and everything public is explained."""

import dataclasses
import inspect
import re

import pytest

import scalpel
from scalpel import events
from tests.support import environment

README = environment.ROOT / "client" / "python" / "README.md"


def test_the_first_example_runs(server):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[1]
    assert "localhost:50051" in code
    names = {}
    exec(code.replace("localhost:50051", server.address), names)
    assert names["heads"].array().shape == (12, 12)
    assert names["patched"].score.shape == (12, 14)


def test_every_name_that_the_readme_gives_is_there():
    text = README.read_text()
    before_results = text.partition("## What comes back")[0]
    functions = set(re.findall(r"`([a-z_]+1?)`", before_results.partition("## What goes in")[2]))
    selectors = set(scalpel.Where.__annotations__)
    arguments = set(inspect.signature(scalpel.Model.run).parameters)
    for name in functions - selectors - arguments - {"resid_post"}:
        assert name in scalpel.__all__, name
    results = (scalpel.RunResult, scalpel.SweepResult, scalpel.PatchingResult, scalpel.Tensor,
               events.TokenLogit, events.Report, events.Tokens, events.ProbeResult, scalpel.Model,
               events.Histogram, events.Finished, events.SweepAxis, events.Variant,
               scalpel.stats.Stats, scalpel.GenerationResult, scalpel.GeneratedStream,
               scalpel.generated_stream.Pair)  # fmt: skip
    known = set().union(*(dir(kind) for kind in results), *(_fields(kind) for kind in results))
    for name in re.findall(r"`\.([a-z_]+)", text.partition("## What comes back")[2]):
        assert name in known, name


def _fields(kind):
    return set(getattr(kind, "__annotations__", {}))


@pytest.mark.parametrize("name", scalpel.__all__)
def test_everything_public_is_explained(name):
    value = getattr(scalpel, name)
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        for member, inner in vars(value).items():
            if callable(inner) and not member.startswith("_"):
                assert inner.__doc__, f"{name}.{member}"
        if dataclasses.is_dataclass(value):
            source = inspect.getsource(value)
            for field in dataclasses.fields(value):
                assert re.search(rf"\b{field.name}: [^\n]+\n +\"\"\"", source) or field.name in (
                    "proto", "written", "fields",
                ), f"{name}.{field.name}"  # fmt: skip
