"""`python -m tests.bench`, which `./scalpel bench` runs."""

import argparse
import json
import pathlib
import sys

from tests.support import environment

environment.import_stubs()

from tests.bench import instructions, suite  # noqa: E402
from tests.bench.contestants import PEERS  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scalpel bench",
        description="Times Scalpel and its peers on workloads W0 to W7, interleaved, at full GPT-2 "
        "size; an answer that does not agree with HuggingFace's does not count.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small model, agreement only, no times"
    )
    parser.add_argument(
        "--instructions",
        action="store_true",
        help="only the server's own instructions of one call, by part (callgrind)",
    )
    parser.add_argument("--only", type=_listed, metavar="W2,W3", help="these workloads")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="timed rounds (default 5)"
    )
    parser.add_argument(
        "--peers",
        type=_listed,
        metavar="NAME,NAME",
        help=f"of {', '.join(PEERS)} (default: all; transformers always takes part)",
    )
    parser.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="default: OUT/results.json"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=environment.BUILD / "bench",
        metavar="DIR",
        help="where results.json, results.png and RESULTS.md go (default build/bench)",
    )
    given = parser.parse_args()
    for name in given.peers or ():
        if name not in PEERS:
            parser.error(f"--peers: there is no '{name}'")
    for name in given.only or ():
        if name not in suite.WORKLOADS:
            parser.error(f"--only: there is no '{name}'; there are {', '.join(suite.WORKLOADS)}")
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    return given


def _listed(text: str) -> list[str]:
    return text.split(",")


def main() -> int:
    given = arguments()
    if given.instructions:
        print(instructions.table(instructions.measure()))
        return 0
    if given.quick:
        run = suite.quick(given.peers, given.only)
    else:
        run = suite.full(given.peers, given.only, given.rounds)
        write(run, given)
    wrong = [row for row in run["rows"] if not all(cell["counts"] for cell in row["cells"])]
    print(f"all agree in {len(run['rows']) - len(wrong)} cases, not all in {len(wrong)}")
    return 1 if wrong else 0


def write(run: dict, given: argparse.Namespace) -> None:
    from tests.bench import plot, report

    given.out.mkdir(parents=True, exist_ok=True)
    path = given.json or given.out / "results.json"
    path.write_text(json.dumps(run, indent=1) + "\n")
    plot.draw(run, given.out / "results.png")
    (given.out / "RESULTS.md").write_text(report.markdown(run))
    print(f"written: {path}, {given.out / 'results.png'}, {given.out / 'RESULTS.md'}")


if __name__ == "__main__":
    sys.exit(main())
