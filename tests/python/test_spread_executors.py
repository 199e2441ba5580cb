"""Sweeps over several servers whose calls are made by executors: threads, processes, Dask."""

import concurrent.futures
import multiprocessing

import distributed
import pytest

import scalpel
from scalpel import (
    kl_from_clean,
    spread,
    zero,
)
from tests.python.raw import PROMPT
from tests.python.test_aio import same

KL = kl_from_clean()


def processes():
    """Which share nothing with this one."""
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(2, mp_context=context)


@pytest.mark.parametrize("make", [concurrent.futures.ThreadPoolExecutor, processes])
def test_an_executor_makes_the_calls(servers, model, make):
    addresses = [one.address for one in servers]
    with make() as executor, spread.connect(addresses, executor=executor) as replicas:
        check_executor(replicas, model)


def check_executor(replicas, model):
    """The answer is the same, and so is what is wrong."""
    options = {"over": ["layers", "heads"], "metrics": KL}
    same(replicas.sweep(PROMPT, zero("z"), **options), model.sweep(PROMPT, zero("z"), **options))
    with pytest.raises(scalpel.InvalidArgument) as raised:
        replicas.sweep(PROMPT, zero("k", layer=12), over="heads", metrics=KL)
    assert [one.argument for one in raised.value.violations] == ["interventions.layer"]


def test_dask_makes_the_calls(servers, model):
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        executor = client.get_executor(pure=False)
        with spread.connect([one.address for one in servers], executor=executor) as replicas:
            check_executor(replicas, model)
