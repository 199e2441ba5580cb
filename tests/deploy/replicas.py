"""What a second server behind the edge is good for: `python -m tests.deploy.replicas`.

A set of prompts that one server's cache does not hold, and two servers' caches do, is asked again
and again. Servers that share a machine's cores do not compute faster by being two: what this shows
are hits, and in requests a second no more than what these save.
"""

import dataclasses
import pathlib
import tempfile
import time
from concurrent import futures

import grpc

from tests.deploy.callers import cache_of, run
from tests.deploy.edge import Edge
from tests.support.server import Server

PROMPTS = [f"{number} times Mary and John went to the store" for number in range(100, 180)]
# Of all prompts' clean runs, in the cache of one server.
SHARE = 0.8
CALLERS = 4
RATE = "rate=100000r/s"


@dataclasses.dataclass
class Figures:
    """Of the rounds after the first."""

    requests_per_second: float
    hits: float  # the share of the prompts that were known


def bytes_of_a_prompt() -> int:
    """What a clean run takes in the cache."""
    with Server("--threads", "1") as server:
        before = cache_of(server).bytes
        with grpc.insecure_channel(server.address) as channel:
            run(channel, PROMPTS[0], affinity=None)
        return cache_of(server).bytes - before


def measure(count: int, by_prompt: bool, prompt_bytes: int, rounds: int = 3) -> Figures:
    """`count` servers; calls led by their prompts, or anywhere."""
    limit = int(SHARE * len(PROMPTS) * prompt_bytes)
    servers = [Server("--threads", "1", "--baseline-cache-bytes", str(limit)) for _ in range(count)]
    try:
        for server in servers:
            server.start()
        addresses = [server.address for server in servers]
        with tempfile.TemporaryDirectory() as name:
            with Edge(pathlib.Path(name), addresses, rate=RATE) as edge:
                return _time(edge, servers, by_prompt, rounds)
    finally:
        for server in servers:
            server.kill()


def _time(edge: Edge, servers: list[Server], by_prompt: bool, rounds: int) -> Figures:
    _ask_all(edge, by_prompt, 0)
    hits = sum(cache_of(server).hits for server in servers)
    began = time.monotonic()
    for number in range(rounds):
        _ask_all(edge, by_prompt, number + 1)
    seconds = time.monotonic() - began
    hits = sum(cache_of(server).hits for server in servers) - hits
    asked = rounds * len(PROMPTS)
    return Figures(asked / seconds, hits / asked)


def _ask_all(edge: Edge, by_prompt: bool, number: int) -> None:
    """Every prompt once, by several callers."""

    def ask(prompt: str) -> None:
        run(channel, prompt, affinity=prompt if by_prompt else f"{prompt} {number}")

    with edge.channel() as channel, futures.ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(ask, PROMPTS))


def table() -> tuple[str, dict[str, Figures]]:
    prompt_bytes = bytes_of_a_prompt()
    figures = {
        "1 server": measure(1, True, prompt_bytes),
        "2 servers, calls anywhere": measure(2, False, prompt_bytes),
        "2 servers, calls led by their prompts": measure(2, True, prompt_bytes),
    }
    lines = ["| | requests/s | prompts known |", "|---|---|---|"]
    for name, each in figures.items():
        lines.append(f"| {name} | {each.requests_per_second:.0f} | {each.hits:.0%} |")
    return "\n".join(lines), figures


if __name__ == "__main__":
    print(table()[0])
