"""Ten times as many calls as the server can answer: it answers about as many as ever, and refuses
the others at once.

The clients share the server's cores, so what counts is what the server makes of its own processor
time.
"""

import base64
import dataclasses
import statistics
from collections.abc import Iterator

import pytest

from tests.fault.arrivals import Outcome, arrive
from tests.soak.samples import cpu_seconds, quantile
from tests.support.client import make_request
from tests.support.server import Server

TIMES_CAPACITY = 10
# What a second of processor time yields under overload, of what it yields in good order.
GOODPUT_MIN = 0.9
REFUSAL_SECONDS_MAX = 0.2
# Medians of rounds: other processes disturb one, but hardly two.
ROUNDS = 3
ORDERLY_SECONDS, OVERLOAD_SECONDS = 2, 3
THREADS = 2
QUEUE = 16
# Fewer than the queue holds, and enough that the engine never waits.
OUTSTANDING = 12


def messages() -> list[bytes]:
    """Runs of a thousand tokens, some 80 ms of a core. None is known, so all cost the same."""
    made = []
    for number in range(200):
        prompts = [{"token_ids": {"ids": [number, row, *range(2, 250)]}} for row in range(4)]
        asked = make_request({"prompts": prompts, "logits": {"topK": {"k": 1}}})
        made.append(asked.SerializeToString())
    return made


@dataclasses.dataclass
class Phase:
    outcome: Outcome
    seconds: float  # of processor time

    @property
    def goodput(self) -> float:
        """Answers for each second of the server's processor time."""
        return len(self.outcome.answered) / self.seconds


class Load:
    def __init__(self, server: Server):
        self.server, self.messages = server, messages()

    def phase(self, seconds: float, **arrivals: float) -> Phase:
        before = cpu_seconds(self.server.pid)
        outcome = arrive(self.server.address, self.messages, seconds, **arrivals)
        return Phase(outcome, cpu_seconds(self.server.pid) - before)


@dataclasses.dataclass
class Round:
    orderly: Phase
    overload: Phase


@pytest.fixture(scope="module")
def rounds() -> Iterator[list[Round]]:
    flags = ["--threads", str(THREADS), "--max-queue", str(QUEUE), "--max-calls-per-caller", "9999"]
    with Server(*flags, "--baseline-cache-bytes", "0") as server:
        load = Load(server)
        load.phase(0.5, outstanding=OUTSTANDING)  # so that all is warm
        made = []
        for _ in range(ROUNDS):
            orderly = load.phase(ORDERLY_SECONDS, outstanding=OUTSTANDING)
            # With nobody else on the machine; with others it is less, and the overload more.
            capacity = THREADS * orderly.goodput
            made.append(
                Round(orderly, load.phase(OVERLOAD_SECONDS, rate=TIMES_CAPACITY * capacity))
            )
        yield made


def test_the_server_is_as_productive_as_in_good_order(rounds: list[Round]) -> None:
    ratios = [each.overload.goodput / each.orderly.goodput for each in rounds]
    assert statistics.median(ratios) >= GOODPUT_MIN, ratios


def test_refusals_come_at_once(rounds: list[Round]) -> None:
    slow = [quantile(each.overload.outcome.refused, 0.99) for each in rounds]
    assert statistics.median(slow) < REFUSAL_SECONDS_MAX, slow


def test_most_calls_are_refused_and_none_is_lost(rounds: list[Round]) -> None:
    for each in rounds:
        assert not each.orderly.outcome.refused and not each.orderly.outcome.broken
        met = each.overload.outcome
        assert len(met.refused) > 4 * len(met.answered) > 0
        assert not met.broken and not met.unsent


def test_refusals_say_when_to_try_again(rounds: list[Round]) -> None:
    for each in rounds:
        assert each.overload.outcome.trailers
        for trailers in each.overload.outcome.trailers:
            assert trailers["grpc-status"] == "8", trailers
            assert f"the queue is full ({QUEUE} requests)" in trailers["grpc-message"]
            details = trailers["grpc-status-details-bin"]
            details += "=" * (-len(details) % 4)
            assert b"google.rpc.RetryInfo" in base64.b64decode(details)
