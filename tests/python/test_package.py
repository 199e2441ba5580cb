"""The wheel as its users get it: what is in it, what it needs, and its types."""

import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

from tests.support import environment

PACKAGE = environment.ROOT / "client" / "python"
HERE = pathlib.Path(__file__).parent
# A third of it are the libraries that go into reports.
WHEEL_BYTES_MAX = 448 << 10
CORE = {"grpcio", "protobuf", "numpy"}


def told(variable):
    """A path that `./scalpel test --only python` gives."""
    if variable not in os.environ:
        pytest.fail(f"{variable} is not set: run `./scalpel test --only python`")
    return pathlib.Path(os.environ[variable])


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel():
    return told("SCALPEL_CLIENT_WHEEL")


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# ---- what is in it -------------------------------------------------------------------------------


def test_the_wheel_has_the_package_and_nothing_else(wheel):
    files = contents(wheel)
    assert wheel.name.endswith("-py3-none-any.whl") and wheel.stat().st_size < WHEEL_BYTES_MAX
    sources = {str(p.relative_to(PACKAGE / "src")) for p in (PACKAGE / "src").rglob("*.py")}
    assert sources <= files.keys() and "scalpel/py.typed" in files
    for proto in (environment.PROTO / "scalpel" / "v1").glob("*.proto"):
        for suffix in ("_pb2.py", "_pb2.pyi"):
            assert f"scalpel/v1/{proto.stem}{suffix}" in files
    assert "scalpel/v1/service_pb2_grpc.py" in files
    mine = r"scalpel/.+\.(py|pyi|typed|md)|scalpel/report/(assets|vendor)/[^/]+"
    for name in files:
        assert re.fullmatch(rf"{mine}|scalpel_client-.+\.dist-info/.+", name)
    for name in ("assets/page.js", "assets/page.css", "vendor/d3.min.js", "vendor/LICENSE-d3.txt"):
        assert f"scalpel/report/{name}" in files


def test_the_wheel_needs_three_packages(wheel):
    files = contents(wheel)
    (metadata,) = (text for name, text in files.items() if name.endswith("/METADATA"))
    requires = re.findall(r"Requires-Dist: ([\w-]+)([^\n]*)", metadata.decode())
    assert {name for name, rest in requires if "extra ==" not in rest} == CORE


def test_a_source_distribution_makes_the_same_wheel_without_a_compiler(wheel, tmp_path):
    python = told("SCALPEL_PYTHON_BUILD")
    run(python, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=PACKAGE)
    (archive,) = tmp_path.glob("*.tar.gz")
    run("tar", "-xzf", archive, "-C", tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (tmp_path / "grpc_tools.py").write_text("raise ImportError('there is no compiler')")
    without = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=folder, env=without)
    (made,) = tmp_path.glob("*.whl")
    mine, theirs = contents(made), contents(wheel)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []


# ---- both ends of what it supports ---------------------------------------------------------------


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_it_works_beside_the_oldest_and_the_newest(wheel, server, tmp_path, end):
    """In a fresh environment with the wheel, grpcio, protobuf and numpy, and no other package."""
    pinned = told(f"SCALPEL_PYTHON_{end.upper()}")
    run(pinned, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (theirs,) = pinned.parents[1].glob("lib/python3*/site-packages")
    (packages / "pinned.pth").write_text(f"{theirs}\n")
    bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    pip = (pinned, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, env=bare)
    run(*pip, "check", env=bare)  # What the wheel says it needs is there.
    versions = run(python, HERE / "smoke.py", server.address, env=bare).split()
    wanted = (HERE / f"requirements-{end}.txt").read_text()
    for name, version in zip(("grpcio", "protobuf", "numpy"), versions, strict=True):
        assert f"\n{name}=={version} " in wanted
    assert run(tmp_path / "venv" / "bin" / "scalpel", "--version", env=bare).strip()


def test_the_oldest_are_what_the_package_promises():
    promised = (PACKAGE / "pyproject.toml").read_text()
    oldest = (HERE / "requirements-oldest.txt").read_text()
    for name in CORE:
        version = re.search(rf'"{name}>=([\d.]+)"', promised)[1]
        assert re.search(rf"^{name}=={re.escape(version)}[ .]", oldest, re.MULTILINE), name


# ---- types ---------------------------------------------------------------------------------------


def mypy(tmp_path, *arguments):
    command = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        PACKAGE / "pyproject.toml",
    )
    cache = environment.BUILD / "mypy-cache"
    return subprocess.run(
        [str(part) for part in (*command, "--cache-dir", cache, *arguments)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip


def test_the_types_are_strict(tmp_path):
    done = mypy(tmp_path, "-p", "scalpel")
    assert done.returncode == 0 and "no issues found" in done.stdout, done.stdout + done.stderr


def test_users_get_the_types(tmp_path):
    done = mypy(tmp_path, "--warn-unused-ignores", HERE / "typed_user.py")
    assert done.returncode == 0 and "no issues found" in done.stdout, done.stdout + done.stderr
