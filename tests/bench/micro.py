"""The kernels alone: the program `kernels_bench`, which times them beside libtorch's."""

import json
import pathlib
import subprocess
import tempfile

from tests.support import environment

PROGRAM = environment.BUILD / "tests" / "bench" / "kernels_bench"


def measure(threads: int) -> dict:
    """What it found, as it wrote it; it says the same on the terminal. Wrong kernels are an
    error."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernels.json"
        subprocess.run([PROGRAM, "--threads", str(threads), "--json", path], check=True)
        return json.loads(path.read_text())
