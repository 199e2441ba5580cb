"""The source files of the repository, by language."""

import os
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
_TOP = ("client", "deploy", "proto", "server", "tests")
# What tools leave in a clone, beside hidden folders; and the contracts of others, as they publish
# them.
_NOT_OURS = {"node_modules", "target", "build", "dist", "__pycache__", "google", "grpc"}
_LANGUAGES = {".cc": "C++", ".h": "C++", ".py": "Python", ".proto": "proto", ".sh": "bash"}
_SCRIPTS = ("scalpel", ".ci/run")


def of(*languages: str) -> list[str]:
    """Their files (C++, Python, proto, bash), by their paths from the root."""
    return sorted(name for name in files() if language(name) in languages)


def language(name: str) -> str:
    """Of a file, by its path from the root; empty if it is none of these."""
    return "bash" if name in _SCRIPTS else _LANGUAGES.get(pathlib.PurePath(name).suffix, "")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def files() -> Iterator[str]:
    """All files of the repository's folders, and its scripts."""
    yield from _SCRIPTS
    for top in _TOP:
        # Others may build and clean up beside this, which os.walk does not mind.
        for folder, folders, names in os.walk(ROOT / top):
            folders[:] = [
                name for name in folders if name not in _NOT_OURS and not name.startswith(".")
            ]
            for name in names:
                if "_pb2" not in name:
                    yield pathlib.Path(folder, name).relative_to(ROOT).as_posix()
