"""Whose clean runs an answer may draw on: with `--cache-scope caller`, the caller's alone."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalpel.v1 import model_pb2, server_status_pb2
from tests.support.client import Client
from tests.support.server import Server
from tests.support.tokens import TokenFile

SHARED, CALLER = model_pb2.CACHE_SCOPE_SHARED, model_pb2.CACHE_SCOPE_CALLER
# A prompt of as many tokens takes several times as long to compute as to look up.
LENGTH = 200
PAIRS = 20
# Of 20 pairs of equal distribution, the same one is faster in 18 or more in 1 test of 5,000.
ALMOST_ALL = 18


@dataclasses.dataclass
class Served:
    """A server, and clients of three callers."""

    ann: Client
    bob: Client
    operator: Client
    prompts: Iterator[dict]  # Each is new to the server.


@pytest.fixture
def served(request, tmp_path: Path) -> Iterator[Served]:
    file = TokenFile(tmp_path / "tokens.json")
    tokens = [file.add("ann", "runner"), file.add("bob", "runner"), file.add("olga", "operator")]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server("--tokens", str(file.path), *request.param))
        clients = [stack.enter_context(Client(server.address, token=token)) for token in tokens]
        yield Served(*clients, prompts=map(prompt, range(1000)))


shared = pytest.mark.parametrize("served", [[]], indirect=True, ids=["shared"])
apart = pytest.mark.parametrize(
    "served", [["--cache-scope", "caller"]], indirect=True, ids=["caller"]
)


def prompt(number: int) -> dict:
    """Begins as no other does, nor as what the server runs to warm up: token 0."""
    return {"token_ids": {"ids": [number + 1, *range(1, LENGTH)]}}


def tokens_of_run(client: Client, asked: dict) -> int:
    return client.run({"prompts": [asked]}).finished.tokens_computed


def tokens_of_sweep(client: Client, asked: dict) -> int:
    """Scales the last layer's output: from the cache it takes no token of the clean run."""
    place = {"path": "blocks.11.hook_resid_post"}
    grid = {
        "interventions": [{"place": place, "scale": {}}],
        "axes": [{"values": {"values": [0.5, 2]}}],
    }
    metrics = [{"kl_from_clean": {}}]
    sweep = {"prompts": [asked], "grid": grid, "metrics": metrics}
    return client.sweep(sweep).finished.tokens_computed


@apart
@pytest.mark.parametrize("count", [tokens_of_run, tokens_of_sweep])
def test_a_prompt_of_another_caller_counts_as_unknown(served, count):
    known = next(served.prompts)
    unknown = count(served.ann, known)
    assert unknown >= LENGTH
    assert count(served.ann, known) < unknown, "her own is known to her"
    assert count(served.bob, known) == unknown
    assert count(served.bob, known) < unknown


@shared
@pytest.mark.parametrize("count", [tokens_of_run, tokens_of_sweep])
def test_a_prompt_of_another_caller_is_known_where_the_cache_is_shared(served, count):
    known = next(served.prompts)
    unknown = count(served.ann, known)
    assert count(served.bob, known) < unknown


def seconds(client: Client, asked: dict) -> float:
    begin = time.perf_counter()
    client.run({"prompts": [asked]})
    return time.perf_counter() - begin


def pairs_in_which_anothers_prompt_is_faster(served: Served) -> int:
    """Of PAIRS, each of a prompt that ann has run and one that nobody has; bob runs both."""
    faster = 0
    for number in range(PAIRS):
        hers, fresh = next(served.prompts), next(served.prompts)
        served.ann.run({"prompts": [hers]})
        times = {}
        for asked in (hers, fresh) if number % 2 else (fresh, hers):
            times[asked is hers] = seconds(served.bob, asked)
        faster += times[True] < times[False]
    return faster


@apart
def test_a_prompt_of_another_caller_takes_as_long_as_an_unknown_one(served):
    faster = pairs_in_which_anothers_prompt_is_faster(served)
    assert PAIRS - ALMOST_ALL < faster < ALMOST_ALL


@shared
def test_time_tells_of_other_callers_where_the_cache_is_shared(served):
    """What the other mode is for; and the measurement above can tell."""
    assert pairs_in_which_anothers_prompt_is_faster(served) >= ALMOST_ALL


def cache_of_status(client: Client) -> model_pb2.BaselineCache:
    status = client.stub.GetStatus(server_status_pb2.GetStatusRequest(), timeout=30)
    return status.baseline_cache


@apart
def test_the_model_of_a_caller_tells_nothing_of_the_others(served):
    before = served.bob.model()
    assert before.baseline_cache.scope == CALLER and before.baseline_cache.max_bytes > 0
    operators, status = served.operator.model(), cache_of_status(served.operator)
    served.ann.run({"prompts": [next(served.prompts)]})
    assert served.bob.model() == before
    assert served.operator.model() == operators == before
    moved = cache_of_status(served.operator)
    assert moved.misses == status.misses + 1 and moved.entries == status.entries + 1


@shared
def test_the_model_counts_all_where_the_cache_is_shared(served):
    before = served.bob.model().baseline_cache
    assert before.scope == SHARED
    served.ann.run({"prompts": [next(served.prompts)]})
    after = served.bob.model().baseline_cache
    assert after.misses == before.misses + 1
    assert after == cache_of_status(served.operator)
