"""`./scalpel soak`: the soak, its table and its plot."""

import argparse
import pathlib
import sys
import tempfile
import time

from tests.support import environment

environment.import_stubs()

from tests.soak.report import draw, table  # noqa: E402
from tests.soak.soak import soak  # noqa: E402
from tests.soak.verdict import judge  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scalpel soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--out", type=pathlib.Path, default=environment.BUILD / "soak")
    asked = parser.parse_args()
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(asked.minutes * 60, asked.clients, pathlib.Path(folder), say)
    findings = judge(soaked)
    asked.out.mkdir(parents=True, exist_ok=True)
    said = table(soaked, findings)
    (asked.out / "soak.txt").write_text(said + "\n", "utf-8")
    draw(soaked, asked.out / "soak.svg")
    print(said)
    print(f"\n{asked.out / 'soak.svg'}")
    return 0 if all(finding.good for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
