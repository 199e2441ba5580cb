"""What a request costs before it is admitted grows in proportion to it, whichever field is long.

Each repeated field of Run and of Sweep is made long, within the limits and far beyond them; what is
compared is the time that the server's threads ran, which other programs do not lengthen. Whether
the long request is valid does not matter: a refusal must not cost more than what it refuses.
"""

import pathlib
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message

from scalpel.v1 import run_pb2, sweep_pb2
from tests.fault.calls import send_raw
from tests.fault.growth import paths, products, seeds
from tests.support.client import Client, make_request
from tests.support.server import Server

RUN, SWEEP = (f"/scalpel.v1.InterventionService/{name}" for name in ("Run", "Sweep"))
SEEDS: list[tuple[str, Message]] = [
    *((RUN, make_request(seed, run_pb2.RunRequest)) for seed in seeds.runs()),
    *((SWEEP, make_request(seed, sweep_pb2.SweepRequest)) for seed in seeds.sweeps()),
]
FIELDS = [
    *((RUN, path) for path in paths.repeated(run_pb2.RunRequest.DESCRIPTOR)),
    *((SWEEP, path) for path in paths.repeated(sweep_pb2.SweepRequest.DESCRIPTOR)),
]
# Elements: about as many as the limits admit of messages, and far more; of numbers more still.
MESSAGES, NUMBERS = (1024, 1 << 14), (1024, 1 << 16)
# From a quarter of the elements to all of them: twice twice as much, and half as much again.
GROWTH_MAX = 2.5**2
PRODUCTS = products.messages()
PRODUCT_SECONDS = 3  # a fifth of it, on an idle machine
FLOOR_SECONDS = 0.02  # what is done in this time is left alone
ATTEMPTS = 5


def seed_of(method: str, path: paths.Path) -> Message:
    """The first seed with an element there."""
    for of, seed in SEEDS:
        if of == method and paths.holder(seed, path) is not None:
            return seed
    raise AssertionError(f"no request of growth/seeds.py has an element of {'.'.join(path)}")


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    """A server that does nothing else."""
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def caller(alone: Server) -> Iterator[Client]:
    with Client(alone.address) as client:
        yield client


def test_the_seeds_are_valid(caller: Client) -> None:
    for method, seed in SEEDS:
        assert send(caller, method, checked(seed)) == grpc.StatusCode.OK, seed


@pytest.mark.parametrize(
    "method, path", FIELDS, ids=lambda part: part[27:] if isinstance(part, str) else ".".join(part)
)
def test_cost_grows_with_the_request(
    alone: Server, caller: Client, method: str, path: paths.Path
) -> None:
    seed = checked(seed_of(method, path))
    for count in MESSAGES if paths.of_messages(seed, path) else NUMBERS:
        for distinct in (False, True):
            few, many = (
                paths.grown(seed, path, size, distinct).SerializeToString()
                for size in (count // 4, count)
            )
            spent = [cost(alone, caller, method, message) for message in (few, many)]
            for _ in range(ATTEMPTS):
                if spent[1] < max(FLOOR_SECONDS, GROWTH_MAX * spent[0]):
                    break
                spent[0] = max(spent[0], cost(alone, caller, method, few))
                spent[1] = min(spent[1], cost(alone, caller, method, many))
            assert spent[1] < max(FLOOR_SECONDS, GROWTH_MAX * spent[0]), (
                f"{count} elements, {'distinct' if distinct else 'alike'}: {spent[1]:.3f} s; "
                f"a quarter of them: {spent[0]:.3f} s"
            )


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_short_request_is_checked_in_a_short_time(
    alone: Server, caller: Client, name: str
) -> None:
    """A check takes the time of one of the few workers, for which others wait."""
    request = checked(PRODUCTS[name])
    method = RUN if isinstance(request, run_pb2.RunRequest) else SWEEP
    assert cost(alone, caller, method, request.SerializeToString()) < PRODUCT_SECONDS


def checked(request: Message) -> Message:
    """The request, only to be checked."""
    request.validate_only = True
    return request


def send(client: Client, method: str, request: Message | bytes) -> grpc.StatusCode:
    message = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        send_raw(client, message, method)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def cost(server: Server, client: Client, method: str, message: bytes) -> float:
    """Seconds of CPU time that the server spends on a call."""
    before = _cpu_seconds(server.pid)
    code = send(client, method, message)
    assert code in REFUSALS, code
    return _cpu_seconds(server.pid) - before


REFUSALS = (
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def _cpu_seconds(pid: int) -> float:
    """Of all its threads, to the nanosecond."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
