"""The commands of a page, as a reader's terminal would run them one after the other."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import sysconfig
import time

from tests.support import environment
from tests.support.server import is_serving

_COMMAND_SECONDS = 120
# The client's command, for pages that do not install it themselves.
_INSTALLED = """#!/bin/sh
PYTHONPATH="$SCALPEL_PROTO_PYTHON" exec "{python}" -m scalpel "$@"
"""
_SERVE = re.compile(r"^\./scalpel serve\b", re.MULTILINE)


class Shell:
    """A folder that looks like a clone, and the variables that commands export."""

    def __init__(self, folder: pathlib.Path, port: int):
        """`port`: where a server that is started here listens."""
        self.folder, self._address = folder, f"127.0.0.1:{port}"
        for entry in environment.ROOT.iterdir():
            (folder / entry.name).symlink_to(entry)
        command = folder / ".bin" / "scalpel"
        command.parent.mkdir()
        command.write_text(_INSTALLED.format(python=sys.executable))
        command.chmod(0o755)
        self._exported = folder / ".exported"
        self._exported.write_text("")
        self._server: subprocess.Popen | None = None

    def run(self, commands: str) -> str:
        """Runs a block; returns what it printed. Fails where one of its commands does."""
        if serves(commands):
            self._serve(commands)
            return ""
        file = self._exported
        script = f"set -eo pipefail\n. {file}\n{commands}\nexport -p >{file}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, **_tools(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _serve(self, commands: str) -> None:
        """Starts a server and waits until it is ready."""
        command = commands.partition("#")[0].strip()
        self._server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --listen {self._address}"],
            cwd=self.folder,
            env=environment.of_servers(_tools(self.folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _COMMAND_SECONDS
        # A server with TLS tells its health on this machine without it, too.
        port = self._address.rpartition(":")[2]
        health = f"unix-abstract:scalpel-{port}" if "--tls-cert" in command else self._address
        while not is_serving(health):
            assert self._server.poll() is None, f"{command} ended"
            assert time.monotonic() < deadline, f"{command} does not serve"
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(60)


def serves(commands: str) -> bool:
    """Whether they start a server."""
    return _SERVE.search(commands) is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tools(folder: pathlib.Path) -> dict[str, str]:
    """Variables by which the tests' tools are found. Packages that a page installs come from the
    environment of the tests, where they are pinned: nothing is fetched."""
    tools = [folder / ".bin", environment.grpcurl_binary().parent, sysconfig.get_path("scripts")]
    return {
        "PATH": os.pathsep.join([*map(str, tools), os.environ["PATH"]]),
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as what it switches on: no isolation.
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
        "MPLBACKEND": "Agg",
    }
