"""A whole run: the model, the servers, the cases one after the other."""

import pathlib

import torch

from tests.bench import instructions, machine, micro, report, results, workloads
from tests.bench.contestants import PEERS, Contestants, installed_peers
from tests.bench.measure import Rounds
from tests.bench.roof import Meter
from tests.parity import models, places
from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server

WORKLOADS = ("W0", "W1", "W2", "W3", "W4", "W5", "W5b", "W6", "W7")
THREADS = 2
STARTS = 3


def full(peers: list[str] | None, only: list[str] | None, rounds: int) -> dict:
    """At the size of GPT-2 small, with random weights."""
    folder = environment.scratch_dir() / "random-gpt2-124m"
    models.make(folder, seed=0, **models.FULL_SIZE)
    flags = _flags(THREADS)
    starts = [machine.seconds_to_first_answer(folder, flags) for _ in range(STARTS)]
    kernels = micro.measure(THREADS)
    run = _run(folder, workloads.FULL, THREADS, peers, only, rounds)
    run["server"]["seconds to first answer"] = starts
    run["kernels"] = kernels
    run["instructions"] = instructions.measure()
    return run


def quick(peers: list[str] | None, only: list[str] | None) -> dict:
    """With the small model that ships: whether all agree, and no times. On one thread: where others
    compute too, threads that wait for each other take most of the time."""
    return _run(environment.model_dir(), workloads.QUICK, 1, peers, only, rounds=0)


def _run(
    folder: pathlib.Path,
    size: workloads.Size,
    threads: int,
    peers: list[str] | None,
    only: list[str] | None,
    rounds: int,
) -> dict:
    installed = installed_peers()
    taking_part = [name for name in peers or PEERS if name in installed]
    load = machine.load_average()
    torch.set_num_threads(threads)
    with Server(*_flags(threads), model=folder) as server, Client(server.address) as client:
        model = client.model()
        shape = _shape(model.config)
        run = {"facts": machine.facts(model), "rounds": rounds, "peers": taking_part}
        run["missing"] = [name for name in PEERS if name not in installed]
        _print_facts(run)
        contestants = Contestants(folder, shape, server.address, taking_part)
        meter = Meter(threads) if rounds else None
        try:
            measured = Rounds(shape, contestants.reference, meter and meter.measure)
            run["rows"] = []
            for case in workloads.cases(shape, size):
                if only and case.workload not in only:
                    continue
                row = measured.measure(case, contestants.entries(case), rounds)
                run["rows"].append(results.row_data(row))
                print(report.terminal(run["rows"][-1]), flush=True)
            run["server"] = machine.resident_mb(server.pid)
        finally:
            contestants.close()
            if meter:
                meter.close()
    run["load"] = [load, machine.load_average()]
    return run


def _flags(threads: int) -> list[str]:
    return ["--threads", str(threads)]


def _shape(config) -> places.ModelShape:
    return places.ModelShape(
        n_layer=config.n_layer,
        n_head=config.n_head,
        d_model=config.d_model,
        d_mlp=config.d_mlp,
        n_ctx=config.n_ctx,
        vocab_size=config.vocab_size,
    )


def _print_facts(run: dict) -> None:
    for name, value in {**run["facts"], "peers": ", ".join(run["peers"])}.items():
        print(f"{name:<14} {value}")
    if run["missing"]:
        print(f"not installed  {', '.join(run['missing'])}")
    print(flush=True)
