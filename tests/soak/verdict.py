"""What a server must be like after a soak."""

import dataclasses
from collections.abc import Callable

from tests.fault.alive import RSS_TOLERANCE_BYTES
from tests.soak.acts import SEEN
from tests.soak.callers import Met
from tests.soak.samples import Sample, growth, quantile

# Of a straight line through the memory under load, from its first second to its last. That of
# single seconds moves by more, as large answers come and go.
GROWTH_BYTES_MAX = 96 << 20
# Small calls wait for no engine, only for a core: here beside many clients on the same machine.
SMALL_CALL_SECONDS_MAX = 0.25
# gRPC keeps a few threads for later, and does not say how many.
THREADS_TOLERANCE = 8


@dataclasses.dataclass(frozen=True)
class Rest:
    """A server without clients, before and after the load that is measured."""

    rss: int
    files: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Soaked:
    """All that was seen."""

    seconds: float  # of the load that was measured, after the warm-up
    clients: int
    met: Met
    samples: list[Sample]
    small_calls: list[float]  # seconds
    before: Rest
    after: Rest
    fault: str  # what was wrong with the server in the end; empty: it was alive


@dataclasses.dataclass(frozen=True)
class Finding:
    what: str
    seen: str
    bound: str
    good: bool


def judge(soaked: Soaked) -> list[Finding]:
    met, before, after = soaked.met, soaked.before, soaked.after
    missing = sorted(f"{act}: {code.name}" for act, code in SEEN - set(met.counts))
    p99 = quantile(soaked.small_calls, 0.99) if soaked.small_calls else float("inf")
    return [
        _none("answers with other bytes", met.differed),
        Finding("answers compared", f"{met.compared:,}", "at least 1", met.compared > 0),
        _none("calls that ended as none may", met.wrong),
        _none("kinds of ends that never came", missing),
        _at_most("growth of memory under load", growth(soaked.samples), GROWTH_BYTES_MAX, _mib),
        _at_most("memory at rest", after.rss, before.rss + RSS_TOLERANCE_BYTES, _mib),
        _at_most("descriptors at rest", after.files, before.files),
        _at_most("threads at rest", after.threads, before.threads + THREADS_TOLERANCE),
        _at_most("p99 of small calls", p99, SMALL_CALL_SECONDS_MAX, _milliseconds),
        Finding("server in the end", soaked.fault or "alive", "alive", not soaked.fault),
    ]


def _none(what: str, found: list[str]) -> Finding:
    some = f", such as {', '.join(found[:3])}" if found else ""
    return Finding(what, f"{len(found)}{some}", "0", not found)


def _at_most(
    what: str, seen: float, bound: float, said: Callable[[float], str] = "{:,}".format
) -> Finding:
    return Finding(what, said(seen), f"at most {said(bound)}", seen <= bound)


def _mib(value: float) -> str:
    return f"{value / (1 << 20):.1f} MiB"


def _milliseconds(value: float) -> str:
    return f"{value * 1000:.1f} ms"
