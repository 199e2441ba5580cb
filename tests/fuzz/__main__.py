"""`python3 -m tests.fuzz XML [PART/PARTS]`: runs the fuzz targets, or one part of them, for
SCALPEL_FUZZ_SECONDS each, and writes the results as JUnit XML, where each target is one test."""

import base64
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from tests.fuzz.seeds import SEEDS, words

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAMS = _ROOT / "build-fuzz" / "tests" / "fuzz"
# What was found by earlier runs is here, too.
_FOUND = _ROOT / "build-fuzz" / "found"
_SECONDS = "45"
_LAST_LINES = 40
_SHOWN_BYTES = 4000
# One input may take this long on a busy machine; memory is libtorch's, mostly.
_FLAGS = ("-timeout=150", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=1")
_LENGTH = {"generate": 20_000, "request": 20_000, "message": 20_000, "tokenizer": 20_000}


@dataclasses.dataclass(frozen=True)
class Outcome:
    executed: int
    # What the program printed last, with the inputs that it failed at; empty: it did not fail.
    problem: str = ""


def explores() -> bool:
    """Whether the run tries other inputs than the one before, and goes on where that stopped. The
    suite does not: what it finds depends on the code, and not on luck."""
    return bool(os.environ.get("SCALPEL_FUZZ_SECONDS"))


def prepare(target: str, found: pathlib.Path) -> list[str]:
    """Writes the seeds and the dictionary; the folders of inputs, the first for what is new."""
    folder = found / target
    for name in ("corpus", "seeds", "failed"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stale = ["seeds", "failed", *(["corpus"] * (not explores()))]
    for old in [path for name in stale for path in (folder / name).iterdir()]:
        old.unlink()
    for number, seed in enumerate(SEEDS[target]()):
        (folder / "seeds" / f"{number:02}").write_bytes(seed)
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words(target))
    (folder / "words.dict").write_text("".join(f'"{word}"\n' for word in quoted), "utf-8")
    regressions = _ROOT / "tests" / "fuzz" / "regressions" / target
    inputs = [folder / "corpus", folder / "seeds", *([regressions] * regressions.is_dir())]
    return [str(each) for each in inputs]


def fuzz(target: str, program: pathlib.Path, found: pathlib.Path, seconds: str) -> Outcome:
    inputs = prepare(target, found)
    folder = found / target
    command = [
        str(program),
        f"-max_total_time={seconds}",
        *(["-seed=1"] * (not explores())),
        f"-max_len={_LENGTH.get(target, 4096)}",
        *([f"-dict={folder / 'words.dict'}"] if words(target) else []),
        f"-artifact_prefix={folder / 'failed'}/",
        *_FLAGS,
        *inputs,
    ]
    done = subprocess.run(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    output = done.stdout.decode("utf-8", "replace")
    (folder / "log").write_text(output, "utf-8")
    counted = re.search(r"stat::number_of_executed_units: +(\d+)", output)
    executed = int(counted[1]) if counted else 0
    if done.returncode == 0 and executed > 0:
        return Outcome(executed)
    problem = [*output.splitlines()[-_LAST_LINES:], f"exit status {done.returncode}"]
    for failed in sorted((folder / "failed").iterdir()):
        problem += _shown(failed, program)
    return Outcome(executed, "\n".join(problem))


def _shown(failed: pathlib.Path, program: pathlib.Path) -> list[str]:
    """An input as text where it is text, and how to run it again."""
    data = failed.read_bytes()
    try:
        kind, text = "text", data[:_SHOWN_BYTES].decode("ascii")
    except UnicodeDecodeError:
        kind, text = "base64", base64.b64encode(data[:_SHOWN_BYTES]).decode()
    cut = ", its beginning" if len(data) > _SHOWN_BYTES else ""
    return [
        f"input {failed.name} ({len(data)} bytes; {kind}{cut}):",
        text,
        f"to reproduce, in {_ROOT}: {program} {failed}",
    ]


def run(targets: Sequence[str], xml: pathlib.Path, seconds: str) -> int:
    """The exit status: 1 if a target failed."""
    suite = ElementTree.Element("testsuite", name="fuzz")
    failures = 0
    for target in targets:
        begin = time.monotonic()
        outcome = fuzz(target, _PROGRAMS / f"{target}_fuzz", _FOUND, seconds)
        elapsed = f"{time.monotonic() - begin:.3f}"
        case = ElementTree.SubElement(suite, "testcase", name=target, time=elapsed)
        corpus = sum(1 for _ in (_FOUND / target / "corpus").iterdir())
        counted = f"{outcome.executed:9,} inputs, {corpus:5} kept"
        print(f"{target:<12} {counted}, {elapsed} s", flush=True)
        if outcome.problem:
            failures += 1
            said = re.search(r".*(does not hold|runtime error|ERROR: ).*", outcome.problem)
            reason = said[0].strip() if said else "failed"
            ElementTree.SubElement(case, "failure", message=reason).text = outcome.problem
            print(outcome.problem, flush=True)
    ElementTree.ElementTree(suite).write(xml)
    return 1 if failures else 0


if __name__ == "__main__":
    part, parts = map(int, (sys.argv[2] if len(sys.argv) > 2 else "1/1").split("/"))
    sys.exit(
        run(
            sorted(SEEDS)[part - 1 :: parts],
            pathlib.Path(sys.argv[1]),
            os.environ.get("SCALPEL_FUZZ_SECONDS") or _SECONDS,
        )
    )
