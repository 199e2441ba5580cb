"""Two thousand random specs, answered by the server and by the oracle; and a few of models with
other settings in their config.json.

`SCALPEL_ORACLE_SEEDS=17,40` runs these alone; a failure prints its seed and its spec.
"""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import shutil

import pytest

from tests.oracle import requests, worker
from tests.oracle.record import record
from tests.oracle.sites import find
from tests.support import environment
from tests.support.server import Server

SPECS = 2000
BLOCK = 50
# Scores divided by the layer and not by sqrt(d_head), ReLU, a narrow MLP, a head of its own, two
# files; exact GELU, scores in another order, names without prefix.
TINY = ("tiny-flags", "tiny-upcast")
ACTIVATIONS = ("silu", "tanh")  # That no stored model has.
TINY_MODELS = environment.ROOT / "tests" / "parity" / "golden" / "models"
FAULTY = 0.03  # Share of specs that are made to have no meaning.

CHOSEN = [int(seed) for seed in os.environ.get("SCALPEL_ORACLE_SEEDS", "").split(",") if seed]
BLOCKS = [[seed] for seed in CHOSEN] or [
    list(range(first, first + BLOCK)) for first in range(0, SPECS, BLOCK)
]


def processes(server: Server, faulty: float) -> concurrent.futures.ProcessPoolExecutor:
    """Several, so that the server has several requests at once, and each of them its own
    company."""
    worker.threads_off()
    return concurrent.futures.ProcessPoolExecutor(
        max_workers=(os.cpu_count() or 1) + 2,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=worker.start,
        initargs=(server.address, server.model, faulty),
    )


@pytest.fixture(scope="module")
def pool(server):
    with processes(server, FAULTY) as running:
        yield running


def check(pool: concurrent.futures.Executor, seeds: list[int]) -> list[worker.Verdict]:
    verdicts = list(pool.map(worker.check, seeds))
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    assert not wrong, "\n\n".join(
        f"SCALPEL_ORACLE_SEEDS={verdict.seed}\n{verdict.spec}\n  " + "\n  ".join(verdict.wrong[:6])
        for verdict in wrong
    )
    return verdicts


@pytest.mark.parametrize("seeds", BLOCKS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_answer_is_the_oracles(pool, seeds):
    for verdict in check(pool, seeds):
        record.add(verdict)


@pytest.fixture
def whole():
    """The record of all specs."""
    if len(record.verdicts) < SPECS:
        pytest.skip("says something of all specs together only")
    return record


def test_most_edits_move_the_logits(whole):
    """Else the comparison of answers would say little of edits."""
    moved, looked = whole.moved()
    assert moved > 0.95 * looked


def test_every_name_was_used(whole, client):
    names = requests.served_names(client)
    assert whole.looked_at() == set(names)
    assert whole.edited() == {name for name in names if find(name)[0].editable}


def test_some_specs_are_refused(whole):
    assert 0.5 * FAULTY < whole.refused() / SPECS < 2 * FAULTY


def activated(folder: pathlib.Path, activation: str) -> pathlib.Path:
    """A model of another activation, made in a folder."""
    made = folder / activation
    shutil.copytree(TINY_MODELS / "tiny", made)
    config = json.loads((made / "config.json").read_text())
    config["activation_function"] = activation
    (made / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_other_activations(tmp_path, activation):
    model = activated(tmp_path, activation)
    with Server(model=model) as server, processes(server, 0) as pool:
        check(pool, CHOSEN or list(range(BLOCK)))


@pytest.mark.parametrize("model", TINY)
def test_other_settings_of_the_model(model):
    with Server(model=TINY_MODELS / model) as server, processes(server, 0) as pool:
        check(pool, CHOSEN or list(range(2 * BLOCK)))
