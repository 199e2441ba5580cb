"""`./scalpel soak`: prepares the soak and becomes it."""

import os
import subprocess
from collections.abc import Sequence

from tests.run import places
from tests.run.process import Stop
from tests.run.steps import Steps, Unprepared, say
from tests.run.tools import Tools
from tests.run.venv import python_of

USAGE = """\
usage: ./scalpel soak [--minutes N] [--clients N] [--out DIR]

Installs what is missing, builds the server, and puts it under load: callers of every role on
connections of their own, with runs, sweeps, large answers that are read slowly, cancels, deadlines,
bad requests, garbage, lost connections, and tokens that come, go and expire. Each answer must have
the bytes of the idle server's. In the end there is a table, a plot and a verdict; the exit status
is not 0 if an answer differed, a call ended as none may, memory, descriptors or threads grew, or
small calls became slow.

  --minutes N   how long (default 30); a third of it, but no more than 3 minutes, is to warm up
  --clients N   callers (default 64)
  --out DIR     where soak.txt and soak.svg go (default build/soak)"""


def soak(arguments: Sequence[str]) -> int:
    """The exit status, where it does not become the soak."""
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        return 0
    for step in (("prepare", "cpu", "build", "test"), ("build_programs", "scalpel-server")):
        if status := subprocess.run([places.SCALPEL, *step], check=False).returncode:
            say("scalpel: soak: the server could not be built")
            return status
    try:
        tools = Tools(Steps(Stop()))
        python, stubs = python_of(tools.tests_venv()), str(tools.stubs())
    except Unprepared:
        say("scalpel: soak: its Python packages could not be installed; check the network")
        return 1
    variables = {
        "PYTHONPATH": f"{places.ROOT}{os.pathsep}{stubs}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SCALPEL_PROTO_PYTHON": stubs,
    }
    command = [python, "-m", "tests.soak", *arguments]
    return os.execve(command[0], command, {**os.environ, **variables})
