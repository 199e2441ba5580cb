"""The machine's roof: how fast it multiplies, and how fast it reads memory, in the same run as
everything else."""

import dataclasses
import json
import subprocess

from tests.bench import micro


@dataclasses.dataclass(frozen=True)
class Roof:
    """What the machine reached in one round."""

    gflops: float
    gbytes: float

    def seconds(self, flops: float, read: float) -> float:
        """The least time for so many operations and bytes."""
        return max(flops / self.gflops, read / self.gbytes) / 1e9


class Meter:
    """The program that measures it, which waits between rounds."""

    def __init__(self, threads: int):
        self.process = subprocess.Popen(
            [micro.PROGRAM, "--limits", "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> Roof:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Roof(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
