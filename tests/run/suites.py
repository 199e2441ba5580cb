"""The table of suites, in the order in which they are listed, and run where all are ready."""

import dataclasses
from collections.abc import Callable

from tests.run import parts
from tests.run.build import FUZZ, SAMPLER, SANITIZED, SERVER, TESTS, THREADS, Variant
from tests.run.parts import Part
from tests.run.tools import Tools


@dataclasses.dataclass(frozen=True)
class Suite:
    name: str
    help: str
    # Makes what only this suite needs, and says what to run; several parts run side by side.
    prepare: Callable[[Tools], list[Part]]
    builds: tuple[Variant, ...] = ()
    # Lists of Debian packages, deploy/packages-NAME.txt, beside `build` and `test`.
    packages: tuple[str, ...] = ()
    # It looks at no clock, and may take as long as it takes: see README.md.
    patient: bool = False
    # It needs Python's torch, and only --live or --only choose it.
    live: bool = False
    # Where in its log a summary begins that is shown though nothing failed.
    summary: str = ""


SUITES = (
    Suite("unit", "GoogleTest", parts.unit, builds=(TESTS,)),
    Suite(
        "sanitizer",
        "the same under AddressSanitizer and UndefinedBehaviorSanitizer",
        parts.sanitizer,
        builds=(SANITIZED,),
    ),
    Suite(
        "tsan",
        "those in which threads meet, without gRPC, under ThreadSanitizer",
        parts.tsan,
        builds=(THREADS,),
    ),
    Suite(
        "fuzz",
        "libFuzzer's inputs for all that reads requests and files: each target of tests/fuzz for\n"
        "45 s, or for SCALPEL_FUZZ_SECONDS",
        parts.fuzz,
        builds=(FUZZ,),
        packages=("fuzz",),
        patient=True,
        summary=r"\w+ +[\d,]+ inputs",
    ),
    Suite("lint", "the checks of tests/lint: formats, lengths, locks", parts.lint, patient=True),
    Suite(
        "runner",
        "what runs these suites, and the lint suite's own checks",
        parts.plain("tests/run", "tests/lint"),
    ),
    Suite(
        "parity",
        "against golden files that HuggingFace's implementation made, and the exact statements",
        parts.plain("tests/parity", "-m", "not live"),
        builds=(SERVER, SAMPLER),
        patient=True,
    ),
    Suite(
        "oracle",
        "two thousand random requests against a float64 computation that shares nothing with the\n"
        "server, and the cases that users met",
        parts.plain("tests/oracle", "tests/field", "-m", "not live"),
        builds=(SERVER,),
        patient=True,
    ),
    Suite(
        "e2e",
        "grpcurl and scalpel-cli against a running server",
        parts.plain("tests/e2e"),
        builds=(SERVER,),
    ),
    Suite(
        "fault",
        "bad input, and a server in trouble",
        parts.plain("tests/fault"),
        builds=(SERVER,),
    ),
    Suite(
        "python",
        "the Python client: its wheel, beside the oldest and the newest packages that it supports",
        parts.python,
        builds=(SERVER,),
    ),
    Suite(
        "ray",
        "sweeps of the Python client spread over Ray's workers (downloads Ray, 80 MB)",
        parts.ray,
        builds=(SERVER,),
    ),
    Suite(
        "languages",
        "the programs of client/examples/programs, which must all print the same (downloads what\n"
        "they depend on)",
        parts.languages,
        builds=(SERVER,),
        packages=("languages",),
    ),
    Suite(
        "docs",
        "the clients' documentation: every command and snippet of it, and what they print",
        parts.docs,
        # All that is compiled in build/, since a page's commands ask ./scalpel to build, and wait.
        builds=(SERVER, TESTS),
    ),
    Suite(
        "deploy",
        "deploy/: compose files, Kubernetes manifests, the bill of materials, nginx in front of\n"
        "two servers, and Prometheus with the dashboard's queries and the alerts (unpacks nginx\n"
        "and Prometheus, starts no service)",
        parts.deploy,
        builds=(SERVER,),
        packages=("deploy",),
    ),
    Suite(
        "live",
        "with --live: against HuggingFace transformers on this machine (downloads Python's torch,\n"
        "several GB), and whether the benchmark's contestants agree",
        parts.live,
        builds=(SERVER, SAMPLER),
        patient=True,
        live=True,
        summary="=* (parity with|benchmark)",
    ),
    Suite(
        "migration",
        "with --live: the same ten tasks in TransformerLens, nnsight, pyvene and Scalpel\n"
        "(downloads them, 3 GB)",
        parts.migration,
        builds=(SERVER,),
        live=True,
        summary="=* migration",
    ),
    Suite(
        "lens",
        "with --live: a notebook, edits and patches in TransformerLens 2, 3 and 4 and in\n"
        "scalpel.lens (downloads what `migration` does, and 20 MB)",
        parts.lens,
        builds=(SERVER,),
        patient=True,
        live=True,
        summary="=* lens",
    ),
)
BY_NAME = {suite.name: suite for suite in SUITES}
