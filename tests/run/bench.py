"""`./scalpel bench`: prepares the benchmark and becomes it."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from tests.run import places
from tests.run.process import Stop
from tests.run.steps import Steps, Unprepared, say
from tests.run.venv import python_of, venv

USAGE = """\
usage: ./scalpel bench [--quick | --instructions] [--only W2,W3] [--rounds N] [--peers NAME,NAME]
                       [--json FILE] [--out DIR]
       ./scalpel bench --kernels [--threads N] [--rounds N] [--json FILE]

Installs what is missing (the peers and their Python packages: 3 GB to download), builds the server,
and times it and its peers on the workloads W0 to W7 of tests/bench: interleaved rounds, full GPT-2
size, float32, 2 threads. An answer that does not agree with HuggingFace's does not count. Beside
them the kernels alone, and what the machine can do at most: its FMA peak and its read bandwidth. A
full run takes most of an hour, on a machine that does nothing else.

  --kernels       only the kernels, against libtorch's and against the machine's limits: a minute,
                  without Python packages
  --quick         with the small model that ships: whether all agree, and no times
  --instructions  with the small model: the server's instructions of one call, by part, and no times
  --only LIST     these workloads
  --rounds N      timed rounds (default 5); of --kernels, at least so many (default 7)
  --peers LIST    of transformers, python-server, nnsight, transformer-lens, pyvene, ctranslate2
                  (default: all)
  --out DIR       where results.json, results.png and RESULTS.md go (default build/bench)
  --json FILE     where the JSON goes instead; of --kernels, which writes none without it
  --threads N     of --kernels (default 2)"""


def bench(arguments: Sequence[str]) -> int:
    """The exit status, where it does not become the benchmark."""
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        return 0
    if "--kernels" in arguments:
        program = str(places.BUILD / "tests" / "bench" / "kernels_bench")
        rest = [each for each in arguments if each != "--kernels"]
        if status := _ask("prepare", "cpu", "build"):
            return status
        if _ask("build_programs", "kernels_bench"):
            return _refuse("the kernels could not be built")
        return _become([program, *rest], {})
    if status := _ask("prepare", "cpu", "build", "bench"):
        return status
    if _ask("build_programs", "scalpel-server", "kernels_bench"):
        return _refuse("the server could not be built")
    requirements = places.ROOT / "tests" / "bench" / "requirements.txt"
    try:
        python = python_of(venv(Steps(Stop()), "bench", [requirements]))
    except Unprepared:
        return _refuse("bench: its Python packages could not be installed; check the network")
    variables = {
        "PYTHONPATH": str(places.ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return _become([python, "-m", "tests.bench", *arguments], variables)


def _ask(*arguments: str) -> int:
    return subprocess.run([places.SCALPEL, *arguments], check=False).returncode


def _become(command: list[str], variables: Mapping[str, str]) -> int:
    os.execve(command[0], command, {**os.environ, **variables})


def _refuse(message: str) -> int:
    say(f"scalpel: {message}")
    return 1
