"""What a server takes, second by second: from /proc and GetStatus."""

import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Sequence

from scalpel.v1 import server_status_pb2
from tests.fault.alive import open_files, rss_bytes
from tests.support.client import Client

_INTERVAL_SECONDS = 1.0


@dataclasses.dataclass
class Sample:
    at: float  # seconds of time.monotonic()
    rss: int  # bytes
    files: int
    threads: int
    queued: int
    running: int
    p50: float | None = None  # seconds, of the small calls of this second
    p99: float | None = None


def thread_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def cpu_seconds(pid: int) -> float:
    """That a process has used, in all of its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


class Sampler(threading.Thread):
    """Takes a sample each second, until told to stop."""

    def __init__(self, pid: int, operator: Client):
        super().__init__(daemon=True)
        self.pid, self.operator = pid, operator
        self.samples: list[Sample] = []
        self.failure: Exception | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.wait(_INTERVAL_SECONDS):
                self.samples.append(self._take())
        except Exception as error:
            self.failure = error

    def stop(self) -> list[Sample]:
        self._ended.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure
        return self.samples

    def _take(self) -> Sample:
        asked = server_status_pb2.GetStatusRequest()
        engine = self.operator.stub.GetStatus(asked, timeout=30).engine
        return Sample(
            at=time.monotonic(),
            rss=rss_bytes(self.pid),
            files=open_files(self.pid),
            threads=thread_count(self.pid),
            queued=engine.queued,
            running=engine.running,
        )


def add_small_calls(samples: Sequence[Sample], calls: Sequence[tuple[float, float]]) -> None:
    """Gives each sample the quantiles of the small calls that began in the second before it."""
    for sample in samples:
        times = [
            took for begin, took in calls if sample.at - _INTERVAL_SECONDS <= begin < sample.at
        ]
        if times:
            sample.p50, sample.p99 = quantile(times, 0.5), quantile(times, 0.99)


def quantile(values: Sequence[float], part: float) -> float:
    """The least of the values that no more than 1 - `part` of them exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def growth(samples: Sequence[Sample]) -> float:
    """By how many bytes a straight line through the samples' memory rises from first to last."""
    if len(samples) < 2:
        return 0.0
    times = [sample.at for sample in samples]
    middle = sum(times) / len(times)
    mean = sum(sample.rss for sample in samples) / len(samples)
    spread = sum((time - middle) ** 2 for time in times)
    slope = sum((s.at - middle) * (s.rss - mean) for s in samples) / spread
    return slope * (times[-1] - times[0])
