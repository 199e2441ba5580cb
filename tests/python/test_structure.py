"""How the package is built: imports without circles, and clients that agree."""

import ast
import inspect
import textwrap

import pytest

import scalpel
from scalpel import aio, calls, connection, methods, spread
from scalpel.worlds import Awaited
from tests.support import environment

SOURCE = environment.ROOT / "client" / "python" / "src" / "scalpel"


# ---- imports -------------------------------------------------------------------------------------


def modules(root):
    """Name to file, of all modules that are written by hand."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        if "_pb2" not in file.name:
            parts = [root.name, *file.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root):
    """The modules that each module imports: at its top, in functions, for type checkers alone, and
    by the packages that are run on the way to them."""
    known = modules(root)
    graph = {}
    for name, file in known.items():
        is_package = file.name == "__init__.py"
        asked = set()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
                asked |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        graph[name] = {
            package
            for one in asked & known.keys()
            for package in with_packages(one)
            if package != name and not name.startswith(f"{package}.")
        }
    return graph


def with_packages(module):
    """A module, and the packages that it is in."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def circle(graph):
    """Modules that import one another, the first of them again at the end; or empty."""
    done = set()

    def walk(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def test_no_module_imports_itself_by_way_of_others():
    assert circle(imports(SOURCE)) == []


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import a", True),
        ("def late():\n    import p.a", True),
        ("from . import a", True),
        ("from .a import one", True),
        ("from p.sub import c", True),
        ("import p.sub.d", True),  # Its package imports a.
        ("import os", False),
        ("from p import unknown", False),
    ],
)
def test_a_circle_is_found(tmp_path, second, expected):
    folder = tmp_path / "p"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text("from p import a")
    (folder / "a.py").write_text("from p import b")
    (folder / "b.py").write_text(second)
    (folder / "sub" / "__init__.py").write_text("from p.sub import c")
    (folder / "sub" / "c.py").write_text("from p import a")
    (folder / "sub" / "d.py").write_text("")
    assert bool(circle(imports(folder))) == expected


def test_every_module_says_what_it_is_for():
    for name, file in modules(SOURCE).items():
        assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), name


# ---- one table of methods ------------------------------------------------------------------------

CLIENTS = {"scalpel": scalpel.Model, "aio": aio.AsyncModel, "spread": scalpel.Replicas}
CONNECTS = {"scalpel": scalpel.connect, "aio": aio.connect, "spread": spread.connect}


def table(client):
    """The methods that a client has of the table."""
    names = set(vars(methods.SweepMethods))
    if issubclass(client, methods.Methods):
        names |= set(vars(methods.Methods))
    return sorted(name for name in names if not name.startswith("_"))


def test_every_client_has_all_of_its_table():
    assert len(table(scalpel.Model)) == 26 and table(scalpel.Model) == table(aio.AsyncModel)
    of_replicas = ["knock_out_edges", "patch", "path_patch", "sweep", "sweep_request"]
    assert table(scalpel.Replicas) == of_replicas
    for client in CLIENTS.values():
        for name in table(client):
            assert inspect.isfunction(vars(client)[name]), f"{client.__name__}.{name}"


@pytest.mark.parametrize("client", [aio.AsyncModel, scalpel.Replicas])
def test_clients_agree_in_signatures_and_docs(client):
    """But for the name of a stream, which each world has its own of."""
    for name in table(client):
        method, model = getattr(client, name), getattr(scalpel.Model, name)
        assert str(inspect.signature(method)).replace("AsyncStream", "Stream") == str(
            inspect.signature(model)
        ), name
        assert inspect.getdoc(method) == inspect.getdoc(model) and inspect.getdoc(method), name
        assert method.__qualname__ == f"{client.__name__}.{name}"
        is_async = issubclass(client, Awaited) and not name.startswith("stream")
        assert inspect.iscoroutinefunction(method) == is_async, name


def test_a_method_is_described_as_the_function_that_builds_its_call():
    for name in ("run", "sweep", "run_request", "tokenize", "get_info"):
        built, made = (
            inspect.signature(getattr(calls, name)),
            inspect.signature(getattr(scalpel.Model, name)),
        )
        assert list(built.parameters.values()) == list(made.parameters.values())[1:]
        assert inspect.getdoc(getattr(calls, name)) == inspect.getdoc(getattr(scalpel.Model, name))


def test_a_subclass_may_have_a_method_of_its_own():
    class Mine(scalpel.Model):
        def run(self, prompts):
            """Mine."""
            return prompts

    class Again(Mine):
        pass

    assert Again.run is Mine.run and Again.sweep is scalpel.Model.sweep


# ---- one list of what connect takes --------------------------------------------------------------


def options(connect):
    parameters = inspect.signature(connect).parameters.values()
    return [one for one in parameters if one.kind is one.KEYWORD_ONLY]


def test_every_connect_takes_the_same_options():
    expected = options(connection.settings)
    assert [one.name for one in expected][:3] == ["model", "tls", "token"]
    assert options(scalpel.connect) == options(aio.connect) == expected
    assert options(spread.connect)[2:] == expected
    for connect in CONNECTS.values():
        kinds = {one.kind for one in inspect.signature(connect).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_the_types_of_the_options_are_those_of_settings():
    """`Options` is for type checkers, which cannot read them from a function."""
    node = ast.parse(textwrap.dedent(inspect.getsource(connection.Options))).body[0]
    fields = {
        one.target.id: ast.unparse(one.annotation)
        for one in node.body
        if isinstance(one, ast.AnnAssign)
    }
    assert fields == {one.name: one.annotation for one in options(connection.settings)}


@pytest.mark.parametrize("connect", CONNECTS.values(), ids=CONNECTS)
def test_every_option_is_explained(connect):
    text = inspect.getdoc(connect)
    for one in options(connect):
        assert f"{one.name}:" in text or f"{one.name}, " in text or connect is aio.connect
    assert "scalpel.connect" in text


@pytest.mark.parametrize("connect", CONNECTS.values(), ids=CONNECTS)
def test_an_unknown_option_is_refused(connect):
    with pytest.raises(TypeError, match="unexpected keyword argument 'time_out'"):
        connect(["127.0.0.1:1"], time_out=3)


def test_options_reach_the_settings():
    connecting = aio.connect("127.0.0.1:1", timeout=3, metadata={"a": "b"})
    assert connecting._settings.timeout == 3 and connecting._settings.metadata == (("a", "b"),)
