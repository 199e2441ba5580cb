"""How many instructions of the server one call costs beside the model's own kernels: counted by
callgrind (Weidendorfer et al., 2004), which no other load on the machine disturbs."""

import collections
import os
import pathlib
import re
import subprocess

from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server

WARM_CALLS, CALLS = 10, 50
PROMPT = list(range(1, 17))
# A prompt that the server has seen, an edit near its end, a statistic of every layer, ten logits.
REQUEST = {
    "prompts": [{"tokenIds": {"ids": PROMPT}}],
    "interventions": [{"place": {"path": "blocks.9.hook_resid_post"}, "scale": {"factor": 0.1}}],
    "probes": [{"place": {"path": "resid_post"}, "statistics": ["STATISTIC_STD"]}],
    "logits": {"topK": {"k": 10}},
}
# By the names of shared objects; what is in none is generated code, a kernel too, and so is what
# the server has in its room of kernels.
PARTS = {
    "scalpel-server": "Scalpel",
    "libgrpc": "gRPC",
    "libgpr": "gRPC",
    "libupb": "gRPC",
    "libaddress_sorting": "gRPC",
    "libprotobuf": "Protobuf",
    "libabsl": "Abseil",
    "libspdlog": "spdlog",
    "libfmt": "spdlog",
    "libc.": "C and C++ libraries",
    "libjemalloc": "C and C++ libraries",
    "libm.": "C and C++ libraries",
    "libstdc++": "C and C++ libraries",
    "libgcc": "C and C++ libraries",
    "ld-linux": "C and C++ libraries",
    "vgpreload": "C and C++ libraries",
}
KERNELS = "kernels, and libtorch"
_KERNEL = re.compile(r"^[^(]*scalpel::kernels::")  # in the name, and not in its arguments
_LINE = re.compile(r"^\s*([\d,]+)\s.*?(?:\[([^\]]*)\])?\s*$")


def measure() -> dict[str, float]:
    """Instructions of one call by part of the server, on one thread, with the model that ships."""
    out = environment.scratch_dir() / f"callgrind.{os.getpid()}"
    server = Server(
        "--threads",
        "1",
        runner=[
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={out}",
        ],
        start_seconds=600,
    )
    with server, Client(server.address) as client:
        for _ in range(WARM_CALLS):
            client.run(REQUEST)
        _control("--instr=on", server.pid)
        for _ in range(CALLS):
            client.run(REQUEST)
        _control("--instr=off", server.pid)
    annotated = subprocess.run(
        ["callgrind_annotate", "--show-percs=no", "--threshold=100", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {part: count / CALLS for part, count in by_part(annotated.stdout).items()}


def by_part(annotated: str) -> dict[str, int]:
    """Sums the functions' own instructions in the output of callgrind_annotate."""
    counts: collections.Counter[str] = collections.Counter()
    for line in annotated.splitlines():
        found = _LINE.match(line)
        if found is None or "PROGRAM TOTALS" in line or ":" not in line:
            continue
        shared_object = pathlib.PurePath(found[2] or "").name
        part = next((part for name, part in PARTS.items() if name in shared_object), KERNELS)
        if _KERNEL.match(line):
            part = KERNELS
        counts[part] += int(found[1].replace(",", ""))
    return dict(counts.most_common())


def table(counts: dict[str, float]) -> str:
    rest = sum(count for part, count in counts.items() if part != KERNELS)
    lines = [f"{'part of the server':<28} {'instructions a call':>20}"]
    lines += [f"{part:<28} {count:>20,.0f}" for part, count in counts.items()]
    lines.append(f"{'all but ' + KERNELS:<28} {rest:>20,.0f}")
    return "\n".join(lines)


def _control(what: str, pid: int) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)
