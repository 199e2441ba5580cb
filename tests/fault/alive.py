"""What "alive" means after a fault: SERVING, the same bytes for a golden request, and no leak."""

import os
import pathlib
import time

from tests.support.server import is_serving

GOLDEN = {
    "prompts": [
        {"text": "When Mary and John went to the store, John gave a drink to"},
        {"token_ids": {"ids": [5, 6, 7]}},
    ],
    "interventions": [
        {"place": {"site": "SITE_K", "where": {"layers": [5], "heads": [2]}}, "zero": {}},
        {"place": {"site": "SITE_MLP_POST", "where": {"layers": [6]}}, "noise": {"mean": 1}},
    ],
    "probes": [{"place": {"site": "SITE_RESID_POST"}, "statistics": ["STATISTIC_STD"]}],
    "captures": [{"place": {"site": "SITE_PATTERN", "where": {"layers": [11]}}}],
    "seed": 3,
}
# What the allocator may keep for later.
RSS_TOLERANCE_BYTES = 96 << 20
SETTLE_SECONDS = 5


def rss_bytes(pid):
    """Resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no resident memory: it has ended")


def open_files(pid):
    """How many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Alive:
    """The state of a healthy server, to be compared with its state after a fault."""

    def __init__(self, server, client):
        self.server, self.client = server, client
        self.golden = client.run(GOLDEN).content()
        self._measure()

    def check(self):
        """Raises unless the server is as it was."""
        assert self.server.process.poll() is None, f"it has ended:\n{self.server.log()[-3000:]}"
        assert is_serving(self.server.address)
        assert self.client.run(GOLDEN).content() == self.golden, "the golden answer differs"
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self._settled() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not self._settled():
            before = f"{self.files} files, {self.rss >> 20} MiB"
            self._measure()  # what this fault has left is not held against the next
            raise AssertionError(f"before {before}; now {self.files} files, {self.rss >> 20} MiB")

    def _measure(self):
        self.files, self.rss = open_files(self.server.pid), rss_bytes(self.server.pid)

    def _settled(self):
        return (
            open_files(self.server.pid) <= self.files
            and rss_bytes(self.server.pid) <= self.rss + RSS_TOLERANCE_BYTES
        )
