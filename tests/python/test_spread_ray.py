"""Sweeps over several servers whose calls are made by workers of Ray, in an environment of its own:
`./scalpel test --only ray`."""

import time

import grpc
import pytest
import ray

import scalpel
from scalpel import spread, zero
from tests.python.executors import (
    HEADS,
    Holding,
    check_executor,
    check_killed_server,
    check_killed_worker,
)
from tests.python.fake_server import Failure, FakeServer
from tests.python.raw import PROMPT


@pytest.fixture(scope="module")
def executor():
    """Two workers on this machine."""
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
    )
    try:
        yield spread.RayExecutor(num_cpus=1)
    finally:
        ray.shutdown()


def test_ray_makes_the_calls(servers, model, executor):
    check_executor(servers, model, executor)


def test_a_worker_of_ray_that_is_killed_is_not_missed(server, model, executor, tmp_path):
    check_killed_worker(server, model, executor, tmp_path)


def test_a_server_that_is_killed_is_not_missed_by_ray(server, start_server, model, executor):
    check_killed_server(server, start_server("--threads", "1"), model, executor)


def _a_while_after(event, failure):
    event.wait(60)
    time.sleep(0.5)
    yield failure


def test_a_sweep_that_fails_stops_its_calls(server, executor):
    failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "it is wrong after all")
    with Holding(server.address) as held, FakeServer(server.address) as failing:
        failing.script["Sweep"] = [_a_while_after(held.holds, failure)]
        with spread.connect([held.address, failing.address], executor=executor) as replicas:
            with pytest.raises(scalpel.InvalidArgument, match="after all"):
                replicas.sweep(PROMPT, zero("z"), **HEADS)
            assert held.ended.wait(10)
        held.go.set()
