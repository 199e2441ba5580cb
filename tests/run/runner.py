"""Runs suites, each in a thread of its own that waits for its builds, its tools and its turn."""

import dataclasses
import os
import pathlib
import re
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.run import places, process
from tests.run.build import Builder
from tests.run.lanes import Lanes
from tests.run.parts import Part
from tests.run.process import Stop
from tests.run.results import Counts, count, failures
from tests.run.steps import Steps, Unprepared
from tests.run.suites import Suite
from tests.run.tools import Tools

# The longest that one suite may take.
SUITE_SECONDS_MAX = 2400.0
_LAST_LINES = 60
# Below the suites that look at the clock, above the compiler.
_PATIENCE = "10"


@dataclasses.dataclass(frozen=True)
class Outcome:
    counts: Counts
    seconds: float = 0
    # The log of each part, and whether something in it failed.
    logs: tuple[tuple[pathlib.Path, bool], ...] = ()
    # Why it has no results.
    note: str = ""


class Runner:
    def __init__(
        self, suites: Sequence[Suite], stop: Stop, seconds: float = SUITE_SECONDS_MAX
    ) -> None:
        self._suites, self._stop, self._seconds = suites, stop, seconds
        self._tools = Tools(Steps(stop))
        self._lanes = Lanes(os.cpu_count() or 1)
        self._printing = threading.Lock()
        # A line for each test that failed, after its suite's name.
        self.failures: list[str] = []

    def run(self) -> Counts:
        """Runs them all; prints the line of each when it ends."""
        places.LOGS.mkdir(parents=True, exist_ok=True)
        wanted = {variant for suite in self._suites for variant in suite.builds}
        builder = Builder(self._stop, wanted)
        with ThreadPoolExecutor(max_workers=len(self._suites)) as pool:
            running = [
                pool.submit(self._suite, rank, suite, builder)
                for rank, suite in enumerate(self._suites)
            ]
            return sum((future.result() for future in running), Counts())

    def _suite(self, rank: int, suite: Suite, builder: Builder) -> Counts:
        outcome = self._outcome(rank, suite, builder)
        with self._printing:
            for line in lines(suite, outcome):
                print(line)
            sys.stdout.flush()
            self.failures += [f"{suite.name}: {line}" for line in _failures(outcome)]
        return outcome.counts

    def _outcome(self, rank: int, suite: Suite, builder: Builder) -> Outcome:
        try:
            parts = suite.prepare(self._tools)
            builder.wait(suite.builds)
        except Exception as error:
            if not isinstance(error, Unprepared):
                traceback.print_exc()
            note = "not run" if self._stop.asked else "could not be prepared, see above"
            return Outcome(Counts(failed=1), note=note)
        with self._lanes.turn(rank, suite.patient, len(parts)):
            if self._stop.asked:
                return Outcome(Counts(failed=1), note="not run")
            return self._parts(suite, parts)

    def _parts(self, suite: Suite, parts: Sequence[Part]) -> Outcome:
        begin = time.monotonic()
        with ThreadPoolExecutor(max_workers=len(parts)) as pool:
            done = list(
                pool.map(lambda number: self._part(suite, parts, number), range(len(parts)))
            )
        counts = sum((each for each, _ in done), Counts())
        logs = tuple((log, each.failed > 0) for each, log in done)
        note = "interrupted" if self._stop.asked else ""
        return Outcome(counts, time.monotonic() - begin, logs, note)

    def _part(
        self, suite: Suite, parts: Sequence[Part], number: int
    ) -> tuple[Counts, pathlib.Path]:
        name = suite.name if len(parts) == 1 else f"{suite.name}-{number + 1}"
        log = places.LOGS / f"{name}.log"
        xml = _results(log)
        xml.unlink(missing_ok=True)
        part = parts[number]
        command = [each.replace("{xml}", str(xml)) for each in part.command]
        if suite.patient:
            command = ["nice", "-n", _PATIENCE, *command]
        status = process.run(
            command,
            log,
            self._stop,
            seconds=self._seconds,
            folder=places.ROOT,
            variables=part.variables,
        )
        if self._stop.asked:
            status = status or 1
        return count(xml, status), log


def _failures(outcome: Outcome) -> list[str]:
    named = [line for log, failed in outcome.logs if failed for line in failures(_results(log))]
    return named or ["no test is named, see above"] * (outcome.counts.failed > 0)


def _results(log: pathlib.Path) -> pathlib.Path:
    return log.with_suffix(".xml")


def lines(suite: Suite, outcome: Outcome) -> list[str]:
    """The suite's line; then the end of the log of what failed, or its summary."""
    counts = outcome.counts
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    end = f"{outcome.seconds:.0f} s" if outcome.logs else outcome.note
    if outcome.logs and outcome.note:
        end += f", {outcome.note}"
    said = [f"{suite.name:<10} {counts.passed:5} passed, {counts.failed} failed{skipped} ({end})"]
    for log, failed in outcome.logs:
        text = log.read_text("utf-8", "replace").splitlines()
        if failed:
            said += [f"    {line}" for line in text[-_LAST_LINES:]]
            said.append(f"    (the whole output: {log})")
        elif suite.summary:
            said += [f"    {line}" for line in _summary(suite.summary, text)]
    return said


def _summary(beginning: str, text: Sequence[str]) -> Sequence[str]:
    for number, line in enumerate(text):
        if re.match(beginning, line):
            return text[number:]
    return []
