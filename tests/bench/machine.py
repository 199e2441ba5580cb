"""What the numbers were measured on."""

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import subprocess
import time

import torch

from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server

PACKAGES = (
    "torch",
    "transformers",
    "nnsight",
    "transformer-lens",
    "pyvene",
    "ctranslate2",
    "grpcio",
    "numpy",
)
ISA = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
_FIRST_PROMPT = {"prompts": [{"tokenIds": {"ids": [1, 2, 3]}}]}


def facts(model) -> dict[str, str]:
    """`model`: the server's GetModelResponse."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text()
    flags = set(re.search(r"^flags\s*:(.*)$", cpu, re.MULTILINE).group(1).split())
    name = re.search(r"^model name\s*:\s*(.*)$", cpu, re.MULTILINE).group(1)
    family, number = (
        re.search(rf"^{field}\s*:\s*(\d+)$", cpu, re.MULTILINE).group(1)
        for field in ("cpu family", "model")
    )
    memory = re.search(
        r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "CPU": f"{name}, family {family} model {number}, {os.cpu_count()} cores",
        "ISA": " ".join(flag for flag in ISA if flag in flags),
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "threads": str(torch.get_num_threads()),
        "server": f"{model.server_version}, kernels {model.kernels}, {model.threads} threads",
        "torch's ISA": torch.backends.cpu.get_cpu_capability(),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version}" for name, version in _versions().items()),
    }


def load_average() -> float:
    return os.getloadavg()[0]


def resident_mb(pid: int) -> dict[str, float]:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s*(\d+)", status, re.MULTILINE))
    return {
        "resident MB": int(kilobytes["VmRSS"]) / 1e3,
        "resident MB at most": int(kilobytes["VmHWM"]) / 1e3,
    }


def seconds_to_first_answer(folder: pathlib.Path, flags: list[str]) -> float:
    """From the start of a process of the server to the end of its first answer."""
    begin = time.perf_counter()
    with Server(*flags, model=folder) as server, Client(server.address) as client:
        client.run(_FIRST_PROMPT)
        return time.perf_counter() - begin


def _commit() -> str:
    def git(*arguments: str) -> str:
        if shutil.which("git") is None:
            return ""
        done = subprocess.run(
            ["git", "-C", str(environment.ROOT), *arguments], capture_output=True, text=True
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (
        " and changes" if changed else ""
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
