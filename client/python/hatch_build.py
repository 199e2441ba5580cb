"""Generates the contract's modules before the package is built. A source distribution carries them
already, and needs no compiler."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import generate_stubs


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels, editable installs and source distributions."""

    def dependencies(self) -> list[str]:
        """What a build needs besides hatchling. The oldest compiler for each Python: its output
        works with every later protobuf and grpcio."""
        if not generate_stubs.PROTO.is_dir():
            return []
        python = sys.version_info[:2]
        tools = "1.49.1" if python < (3, 12) else "1.62.3" if python == (3, 12) else "1.66.2"
        return [f"grpcio-tools=={tools}", "setuptools==80.9.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files."""
        if generate_stubs.PROTO.is_dir():
            generate_stubs.generate()
