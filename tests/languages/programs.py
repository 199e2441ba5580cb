"""The programs of client/examples/programs: the tests build and run each as its README says."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

from tests.support import environment

ADDRESS, VECTORS = "127.0.0.1:50051", "../../../../proto/vectors"
BUILD_SECONDS_MAX, RUN_SECONDS_MAX = 900, 60


class Program:
    """A folder of client/examples/programs. The last block of shell lines in its README runs the
    program; the blocks before it build it."""

    def __init__(self, folder: pathlib.Path):
        self.name = folder.name
        self._folder = folder
        blocks = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        *self._build, usage = blocks
        self._run = [shlex.split(line) for line in usage.splitlines()]
        self._built = False

    @property
    def checks_vectors(self) -> bool:
        return len(self._run) > 1

    def build(self) -> None:
        """Once for all tests. What is up to date is the build tool's to know."""
        for commands in [] if self._built else self._build:
            done = self._call(["bash", "-euc", commands], BUILD_SECONDS_MAX)
            assert done.returncode == 0, f"{self.name}:\n{done.stdout}{done.stderr}"
        self._built = True

    def run(self, address: str) -> subprocess.CompletedProcess:
        return self._run_line(0, ADDRESS, address)

    def check_vectors(self, folder: pathlib.Path) -> subprocess.CompletedProcess:
        return self._run_line(1, VECTORS, str(folder))

    def _run_line(self, number: int, said: str, meant: str) -> subprocess.CompletedProcess:
        line = self._run[number]
        assert line[-1] == said, f"{self.name}: its README does not end a line with {said}"
        return self._call([*line[:-1], meant], RUN_SECONDS_MAX)

    def _call(self, command: list[str], seconds_max: int) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self._folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
        )


def all_programs() -> list[Program]:
    return [Program(file.parent) for file in sorted(environment.PROGRAMS.glob("*/README.md"))]


def _environment() -> dict[str, str]:
    env = {**os.environ}
    env.pop("PYTHONPATH", None)  # The programs' own modules, not the tests'.
    env["PATH"] = f"{environment.grpcurl_binary().parent}:{env['PATH']}"
    if shutil.which("ccache"):
        env["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
    return env
