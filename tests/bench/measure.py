"""Rounds: everybody answers the same fresh questions in turn, is timed, and is compared with
HuggingFace."""

import dataclasses
import gc
import random
import statistics
import time
from collections.abc import Callable

import grpc

from tests.bench import answers, arithmetic
from tests.bench.peers.contestant import Contestant
from tests.bench.questions import Work
from tests.bench.roof import Roof
from tests.bench.workloads import Case
from tests.parity.places import ModelShape

# One by one, each question costs the same: so many of a sweep are enough to time.
SAMPLE = 24
# Between contestants, for the last one's threads to stop waiting for more work.
REST_SECONDS = 0.05


@dataclasses.dataclass
class Entry:
    """A contestant of a case. `part` picks its work of a round, where that is not all of it, and
    `note` says what that is. `seen`: the one before it has asked the server the same."""

    contestant: Contestant
    seen: bool = False
    part: Callable[[Work], Work] = lambda work: work
    note: str = ""

    @property
    def name(self) -> str:
        return self.contestant.name + self.note

    def work(self, whole: Work) -> Work:
        work = self.part(whole)
        return work.sample(SAMPLE) if self.contestant.one_by_one and whole.clients == 1 else work


@dataclasses.dataclass
class Cell:
    """How a contestant did in a case. Times are milliseconds for a question, one for each round."""

    name: str
    role: str
    seen: bool
    note: str = ""
    milliseconds: list[float] = dataclasses.field(default_factory=list)
    roof_share: list[float] = dataclasses.field(default_factory=list)
    figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    agreement: answers.Agreement = dataclasses.field(default_factory=answers.Agreement)
    error: str = ""

    @property
    def counts(self) -> bool:
        return not self.error and self.agreement.holds

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


@dataclasses.dataclass
class Row:
    """A case with everybody's cells. `moved`: how far each edit moves the logits in HuggingFace."""

    case: Case
    cells: list[Cell]
    moved: list[float] = dataclasses.field(default_factory=list)
    roof: list[Roof] = dataclasses.field(default_factory=list)

    @property
    def moved_count(self) -> int:
        return sum(distance > answers.LOGITS_TOLERANCE for distance in self.moved)

    @property
    def counts(self) -> bool:
        """An edit that moves nothing would agree with anything."""
        return not self.case.edits or self.moved_count > 0


class Rounds:
    """Runs cases. `reference` says what is right; `roof` measures it."""

    def __init__(self, shape: ModelShape, reference: Contestant, roof: Callable[[], Roof] | None):
        self.shape, self.reference, self.roof = shape, reference, roof

    def measure(self, case: Case, entries: list[Entry], rounds: int) -> Row:
        """A rehearsal, in which every question is compared, then so many timed rounds."""
        row = Row(case, [Cell(e.name, e.contestant.role, e.seen, e.note) for e in entries])
        for number in range(rounds + 1):
            rng = random.Random(f"{case.name}, round {number}")
            questions = tuple(case.ask(rng))
            index = tuple(range(len(questions)))
            whole = Work(case.wants, questions, index, case.clients, in_full=number == 0)
            asked = whole if number == 0 else whole.sample(SAMPLE)
            reference = self._answer(self.reference, asked)
            if number == 0 and case.edits:
                row.moved = self._moved(asked, reference)
            for entry, cell in zip(entries, row.cells, strict=True):
                self._turn(case, entry, cell, whole, reference, timed=number > 0)
            if number > 0 and self.roof:
                row.roof.append(self.roof())
                self._add_roof_shares(row, entries, whole)
        return row

    def _answer(self, contestant: Contestant, work: Work) -> answers.Answer:
        contestant.prepare(work)
        return contestant.answer(work, contestant.run(work))

    def _moved(self, work: Work, edited: answers.Answer) -> list[float]:
        """Against the same prompts without edits, each computed once."""
        questions = [dataclasses.replace(q, edit=None, source=None) for q in work.questions]
        once = tuple(dict.fromkeys(questions))
        wants = "decode" if work.wants == "decode" else "last"
        clean = self._answer(self.reference, dataclasses.replace(work, wants=wants, questions=once))
        clean.logits = clean.logits[[once.index(question) for question in questions]]
        return answers.moved(clean, edited).tolist()

    def _turn(self, case, entry: Entry, cell: Cell, whole: Work, reference, timed: bool) -> None:
        if cell.error:
            return
        work = entry.work(whole)
        contestant = entry.contestant
        try:
            contestant.prepare(work)
            gc.collect()
            time.sleep(REST_SECONDS)
            begin = time.perf_counter()
            reply = contestant.run(work)
            seconds = time.perf_counter() - begin
            answer = contestant.answer(work, reply)
            cell.agreement.include(answers.compare(reference, answer, work.wants == case.wants))
        except Exception as error:  # One contestant's failure is its cell's, not the suite's.
            cell.error = _said(error)
            return
        if timed:
            cell.milliseconds.append(1e3 * seconds / len(work.questions))
            for name, values in contestant.figures(work, reply).items():
                cell.figures.setdefault(name, []).extend(values)

    def _add_roof_shares(self, row: Row, entries: list[Entry], whole: Work) -> None:
        """Of the server under test, where its model is what takes the time."""
        for entry, cell in zip(entries, row.cells, strict=True):
            if cell.role != "scalpel" or cell.error or whole.wants in ("decode", "states"):
                continue
            work = entry.work(whole)
            least = row.roof[-1].seconds(
                arithmetic.needed(self.shape, work, entry.seen),
                arithmetic.read(self.shape, work, entry.seen),
            )
            if least:
                milliseconds = 1e3 * least / len(work.questions)
                cell.roof_share.append(milliseconds / cell.milliseconds[-1])


def _said(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"


def every_other(start: int, wants: str = "") -> Callable[[Work], Work]:
    """A part of a round's questions, asked for something else if `wants` says so."""

    def pick(work: Work) -> Work:
        return dataclasses.replace(
            work,
            questions=work.questions[start::2],
            index=work.index[start::2],
            wants=wants or work.wants,
        )

    return pick
