"""Folders, and what stands outside all suites."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LOGS = BUILD / "test-logs"
SCALPEL = str(ROOT / "scalpel")
# Debian's own, because the wheels are pinned for its version.
PYTHON = "/usr/bin/python3"


def cache() -> pathlib.Path:
    """Where what was downloaded lies, for all clones."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "scalpel"


def libtorch() -> pathlib.Path:
    """Where ./scalpel unpacks libtorch, of the version that deploy/ pins."""
    for line in (ROOT / "deploy" / "requirements-libtorch.txt").read_text("utf-8").splitlines():
        if line.startswith("torch=="):
            return cache() / f"libtorch-{line.split()[0].removeprefix('torch==')}"
    raise ValueError("deploy/requirements-libtorch.txt pins no torch")
