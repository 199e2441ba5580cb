"""Virtual environments of pinned packages, made once for each content of their requirements."""

import hashlib
import os
import pathlib
import shutil
from collections.abc import Sequence

from tests.run import places
from tests.run.locks import locked
from tests.run.steps import Steps

_INSTALL = (
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--require-hashes",
    "--only-binary=:all:",
)


def venv(steps: Steps, name: str, requirements: Sequence[pathlib.Path]) -> pathlib.Path:
    """The folder of the environment. Another process may ask for it at the same time."""
    return steps.once(f"venv {name}", lambda: _locked(steps, name, requirements))


def _locked(steps: Steps, name: str, requirements: Sequence[pathlib.Path]) -> pathlib.Path:
    content = b"".join(path.read_bytes() for path in requirements)
    folder = places.cache() / f"venv-{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    complete = folder / ".complete"
    if complete.exists():
        return folder
    with locked(folder):
        if not complete.exists():
            _make(steps, name, folder, requirements)
            complete.touch()
    return folder


def _make(
    steps: Steps, name: str, folder: pathlib.Path, requirements: Sequence[pathlib.Path]
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    files = [part for path in requirements for part in ("--requirement", str(path))]
    script = f'{places.PYTHON} -m venv "$0" && "$0/bin/pip" install "$@"'
    command = ["sh", "-c", script, str(folder), *_INSTALL, *files]
    steps.run(f"Python packages for {name}", command, variables={"PYTHONPATH": ""})


def python_of(folder: pathlib.Path) -> str:
    return os.fspath(folder / "bin" / "python")
