"""Callers' interventions never meet: each answer is, byte for byte, the one that its request got
alone, whatever others ask meanwhile, and however they fail."""

import contextlib
import dataclasses
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from scalpel.v1 import server_status_pb2
from tests.soak.questions import Question, distinct, make_questions
from tests.support.client import Client
from tests.support.server import Server
from tests.support.tokens import TokenFile

RUNS, SWEEPS = 24, 4
CALLERS = 6
# Nothing is refused, so each caller has an answer to each question.
ROOM = ["--max-queue", "512"]
# Holds less than one wave leaves, so that clean runs come and go in the middle of everything.
TINY = ["--baseline-cache-bytes", str(256 << 10)]
NONE = ["--baseline-cache-bytes", "0"]


@dataclasses.dataclass
class Alone:
    """Questions, and the answers of a server that does one thing at a time, from scratch."""

    questions: list[Question]
    answers: list[list[bytes]]


@pytest.fixture(scope="module")
def alone() -> Alone:
    with Server(*NONE) as server, Client(server.address) as client:
        questions = make_questions(client.model(), RUNS, SWEEPS)
        answers = [question.ask(client) for question in questions]
    assert distinct(answers)
    return Alone(questions, answers)


class Caller(threading.Thread):
    """Asks every question once, in an order of its own; `wrong` names those answered otherwise."""

    def __init__(self, client: Client, alone: Alone, seed: int):
        super().__init__(daemon=True)
        self.client, self.alone = client, alone
        self.order = list(range(len(alone.questions)))
        random.Random(seed).shuffle(self.order)
        self.answered, self.wrong = 0, []

    def run(self) -> None:
        for index in self.order:
            question = self.alone.questions[index]
            try:
                same = question.ask(self.client) == self.alone.answers[index]
            except grpc.RpcError as error:
                self.wrong.append((question.name, error.code()))
                continue
            self.answered += 1
            if not same:
                self.wrong.append((question.name, "other bytes"))


class Company(threading.Thread):
    """Does the same thing over and over, until told to stop; `times` counts how often."""

    def __init__(self, client: Client, act: Callable[[Client, Question], None], alone: Alone):
        super().__init__(daemon=True)
        self.client, self.act, self.alone = client, act, alone
        self.stop, self.times, self.failure = threading.Event(), 0, None

    def run(self) -> None:
        dice = random.Random(7)
        try:
            while not self.stop.is_set():
                self.act(self.client, dice.choice(self.alone.questions))
                self.times += 1
        except Exception as error:
            self.failure = error


def leave(client: Client, question: Question) -> None:
    """Cancels in the middle of the answer."""
    call = question.call(client)
    next(call, None)
    call.cancel()
    with contextlib.suppress(grpc.RpcError):
        list(call)


def run_late(client: Client, question: Question) -> None:
    """Gives up after a time in which no more than a part can be computed."""
    with contextlib.suppress(grpc.RpcError):
        question.ask(client, timeout=0.004)


def overflow(client: Client, _: Question) -> None:
    """Makes infinities and NaN of every number, in the middle of the model."""
    place = {"site": "SITE_MLP_OUT"}
    edits = [{"place": place, "set": {"constant": 3e38}}] * 2
    client.run({"prompts": [{"token_ids": {"ids": list(range(40))}}], "interventions": edits})


def be_wrong(client: Client, _: Question) -> None:
    with contextlib.suppress(grpc.RpcError):
        client.run({"prompts": [{"token_ids": {"ids": [-1]}}]})
        raise AssertionError("it was answered")


COMPANY = [leave, run_late, overflow, be_wrong]


def passes(client: Client) -> int:
    asked = server_status_pb2.GetStatusRequest()
    return client.stub.GetStatus(asked, timeout=30).engine.waves


@contextlib.contextmanager
def clients(flags: list[str], folder: Path, count: int) -> Iterator[list[Client]]:
    """Of one server, each a caller of its own, with a connection of its own."""
    file = TokenFile(folder / "tokens.json")
    tokens = [file.add(f"caller-{number}", "operator") for number in range(count)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server("--tokens", str(file.path), *ROOM, *flags))
        yield [stack.enter_context(Client(server.address, token=token)) for token in tokens]


@pytest.mark.parametrize(
    "flags, warm",
    [
        pytest.param([], False, id="cold cache"),
        pytest.param([], True, id="warm cache"),
        pytest.param(TINY, True, id="tiny cache"),
        pytest.param(NONE, False, id="no cache"),
        pytest.param(["--cache-scope", "caller"], True, id="caches of their own"),
    ],
)
def test_answers_in_company_are_those_alone(
    alone: Alone, flags: list[str], warm: bool, tmp_path: Path
) -> None:
    with clients(flags, tmp_path, CALLERS + len(COMPANY)) as connected:
        if warm:
            for question in alone.questions:
                question.ask(connected[0])
        before = passes(connected[0])
        callers = [Caller(client, alone, seed) for seed, client in enumerate(connected[:CALLERS])]
        company = [
            Company(client, act, alone)
            for client, act in zip(connected[CALLERS:], COMPANY, strict=True)
        ]
        for thread in [*callers, *company]:
            thread.start()
        for caller in callers:
            caller.join(120)
        for other in company:
            other.stop.set()
            other.join(30)
        taken = passes(connected[0]) - before
    wrong = [found for caller in callers for found in caller.wrong]
    assert not wrong, f"{len(wrong)} answers, among them {wrong[:5]}"
    assert all(caller.answered == len(alone.questions) for caller in callers)
    assert all(other.times > 0 and other.failure is None for other in company)
    # They met: with one pass for each task there would be more, even without the company's.
    assert taken < CALLERS * sum(question.tasks for question in alone.questions)
