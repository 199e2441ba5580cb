"""Where the tests find what they need.

`./scalpel test` says it by environment variables. The defaults serve a developer who runs plain
`pytest` from the repository's root after `./scalpel build`.
"""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
PROTO = ROOT / "proto"
EXAMPLES = ROOT / "client" / "examples" / "requests"
PROGRAMS = ROOT / "client" / "examples" / "programs"


def _path(variable: str, *defaults: pathlib.Path) -> pathlib.Path:
    """The variable's path; else the first default that exists; else the first default."""
    if value := os.environ.get(variable):
        return pathlib.Path(value).resolve()
    return next((path for path in defaults if path.exists()), defaults[0])


def server_binary() -> pathlib.Path:
    return _path("SCALPEL_SERVER", BUILD / "server" / "scalpel-server", BUILD / "scalpel-server")


def cli_binary() -> pathlib.Path:
    return _path("SCALPEL_CLI", BUILD / "client" / "cpp" / "scalpel-cli", BUILD / "scalpel-cli")


def sampler_tool() -> pathlib.Path:
    return _path("SCALPEL_SAMPLER_TOOL", BUILD / "tests" / "sampler_tool")


def grpcurl_binary() -> pathlib.Path:
    return _path("SCALPEL_GRPCURL", BUILD / "tools" / "grpcurl")


def model_dir() -> pathlib.Path:
    return _path("SCALPEL_MODEL_DIR", ROOT / "deploy" / "demo-model")


def gpt2_vocabulary_dir() -> pathlib.Path | None:
    """The folder with GPT-2's encoder.json and vocab.bpe; None where it is not said."""
    value = os.environ.get("SCALPEL_NPM_GPT2")
    return pathlib.Path(value).resolve() if value else None


def of_servers(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for a server: this one without the tests' own variables, since those with
    its prefix are settings to a server, and with `extra`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SCALPEL_")}
    return {**plain, **(extra or {})}


def examples(method: str = "run") -> list[pathlib.Path]:
    """The example files with a request of a method: `run`, `sweep` or `generate`."""
    named = {other: set(EXAMPLES.glob(f"*-{other}-*.json")) for other in ("sweep", "generate")}
    found = named.get(method) or set(EXAMPLES.glob("*.json")).difference(*named.values())
    return sorted(found)


def scratch_dir() -> pathlib.Path:
    """For logs and models made on the fly; git ignores it."""
    path = BUILD / "test-scratch"
    path.mkdir(parents=True, exist_ok=True)
    return path


def import_stubs() -> None:
    """Makes `scalpel.v1` importable, generated from proto/ if it is missing or older."""
    if given := os.environ.get("SCALPEL_PROTO_PYTHON"):
        folder = pathlib.Path(given).resolve()
    else:
        folder = BUILD / "python"
        _generate_stubs(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _generate_stubs(folder: pathlib.Path) -> None:
    sources = sorted((PROTO / "scalpel" / "v1").glob("*.proto"))
    made = folder / "scalpel" / "v1" / "service_pb2_grpc.py"
    if made.exists() and made.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTO}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        *map(str, sources),
    ]
    subprocess.run(command, check=True, timeout=120)
