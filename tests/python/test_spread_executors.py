"""Sweeps over several servers whose calls are made by executors: threads, processes, Dask. Ray has
a file of its own."""

import concurrent.futures
import multiprocessing

import distributed
import pytest

from tests.python.executors import check_executor, check_killed_server, check_killed_worker


def processes():
    """Which share nothing with this one."""
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(2, mp_context=context)


@pytest.mark.parametrize("make", [concurrent.futures.ThreadPoolExecutor, processes])
def test_an_executor_makes_the_calls(servers, model, make):
    with make() as executor:
        check_executor(servers, model, executor)


@pytest.fixture(scope="module")
def dask():
    """Two workers, each a process."""
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor(pure=False)


def test_dask_makes_the_calls(servers, model, dask):
    check_executor(servers, model, dask)


def test_a_worker_of_dask_that_is_killed_is_not_missed(server, model, dask, tmp_path):
    check_killed_worker(server, model, dask, tmp_path)


def test_a_server_that_is_killed_is_not_missed_by_dask(server, start_server, model, dask):
    check_killed_server(server, start_server("--threads", "1"), model, dask)
