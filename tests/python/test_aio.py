"""The asyncio client: the same methods, the same answers, and cancelling."""

import asyncio
import inspect
import pickle
import threading
import time

import grpc
import numpy as np
import pytest

import scalpel
from scalpel import aio, calls, kl_from_clean, noise, probe, scale, zero
from tests.python import equivalents
from tests.python.fake_server import Failure, FakeServer, queue_full, run_events
from tests.python.raw import OTHER, PROMPT

LONG = {"over": ["layers", "heads", "positions"], "metrics": kl_from_clean()}


def with_model(address, use, **options):
    """Runs `use(model)` in a loop of its own."""

    async def main():
        async with aio.connect(address, **options) as model:
            return await use(model)

    return asyncio.run(main())


def same(mine, theirs):
    """Whether two results hold the same."""
    assert type(mine) is type(theirs) and mine.digest == theirs.digest
    if isinstance(mine, scalpel.RunResult):
        assert mine.reports == theirs.reports and mine.predictions == theirs.predictions
        assert len(mine.tensors) == len(theirs.tensors)
        for one, other in zip(mine.tensors, theirs.tensors, strict=True):
            assert one == other
            np.testing.assert_array_equal(one.stored, other.stored)
        assert mine.stats.to_pandas().equals(theirs.stats.to_pandas())
    else:
        assert mine.to_pandas().equals(theirs.to_pandas())


# ---- the same as the other -----------------------------------------------------------------------


def public(kind):
    return {
        name: value
        for name, value in inspect.getmembers(kind, callable)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods():
    sync, asynchronous = public(scalpel.Model), public(aio.AsyncModel)
    assert sync.keys() == asynchronous.keys()
    for name in sync:
        mine, theirs = sync[name], asynchronous[name]
        assert list(inspect.signature(mine).parameters) == list(
            inspect.signature(theirs).parameters
        ), name
        assert mine.__doc__ and theirs.__doc__
    assert (
        inspect.signature(scalpel.connect).parameters == inspect.signature(aio.connect).parameters
    )


def test_methods_have_the_signatures_of_their_calls():
    signature = inspect.signature(scalpel.Model.run)
    assert list(signature.parameters)[:3] == ["self", "prompts", "interventions"]
    assert scalpel.Model.run.__doc__ == calls.run.__doc__
    assert signature.parameters.keys() - {"self"} == inspect.signature(calls.run).parameters.keys()
    for kind, prefix in ((scalpel.Model, ""), (aio.AsyncModel, "Async")):
        for name, returns in {
            "run": "RunResult", "patch": "PatchingResult", "token_id": "int",
            "stream": f"{prefix}Stream[RunEvent]", "validate_sweep": "SweepStarted",
        }.items():  # fmt: skip
            assert inspect.signature(getattr(kind, name)).return_annotation == returns


@pytest.mark.parametrize("name", [n for n in equivalents.RUNS if n != "18-validate-only"])
def test_runs_are_the_same(server, model, name):
    arguments, options = equivalents.RUNS[name]
    mine = with_model(server.address, lambda m: m.run(*arguments, **options))
    same(mine, model.run(*arguments, **options))


@pytest.mark.parametrize("name", equivalents.SWEEPS)
def test_sweeps_are_the_same(server, model, name):
    arguments, options = equivalents.SWEEPS[name]
    mine = with_model(server.address, lambda m: m.sweep(*arguments, **options))
    same(mine, model.sweep(*arguments, **options))


def test_everything_else_is_the_same(server, model):
    async def ask(m):
        patched = await m.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", over="layers",
                                position=9)  # fmt: skip
        return {
            "tokens": await m.tokenize(PROMPT),
            "text": await m.detokenize([5, 6]),
            "bytes": await m.detokenize_bytes([5, 6]),
            "id": await m.token_id(" Mary"),
            "cost": (await m.validate(PROMPT)).cost,
            "variants": (await m.validate_sweep(PROMPT, zero("z"), **LONG)).variants,
            "score": patched.score.tolist(),
            "name": (await m.get_info()).name,
            "state": (await m.status()).state,
            "shown": repr(m),
        }

    mine = with_model(server.address, ask)
    assert mine == {
        "tokens": model.tokenize(PROMPT),
        "text": model.detokenize([5, 6]),
        "bytes": model.detokenize_bytes([5, 6]),
        "id": model.token_id(" Mary"),
        "cost": model.validate(PROMPT).cost,
        "variants": 12 * 12 * 14,
        "score": model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", over="layers",
                             position=9).score.tolist(),
        "name": model.info.name,
        "state": model.status().state,
        "shown": repr(model).replace("<Model", "<AsyncModel"),
    }  # fmt: skip


def test_raw_requests(server, model):
    request = calls.run(PROMPT, scale("z", 2, layer=1)).request
    sweep = calls.sweep(PROMPT, zero("z"), over="layers", metrics=kl_from_clean()).request

    async def ask(m):
        return await m.run_request(request), await m.sweep_request(sweep)

    for mine, theirs in zip(
        with_model(server.address, ask),
        (model.run_request(request), model.sweep_request(sweep)),
        strict=True,
    ):
        same(mine, theirs)  # fmt: skip


def test_streams_bring_the_same_events(server, model):
    options = {"stats": probe("resid_post", "std"), "capture": "z"}

    async def read(m):
        async with m.stream(PROMPT, **options) as stream:
            return [type(event).__name__ async for event in stream]

    with model.stream(PROMPT, **options) as stream:
        assert with_model(server.address, read) == [type(event).__name__ for event in stream]


def test_errors_name_the_argument(server):
    async def ask(m):
        await m.run("a", [zero("k"), zero("k", layer=12)])

    with pytest.raises(scalpel.InvalidArgument) as raised:
        with_model(server.address, ask)
    assert [v.argument for v in raised.value.violations] == ["interventions[1].layer"]


# ---- what asyncio adds ---------------------------------------------------------------------------


def test_many_calls_at_once(server, model):
    async def ask(m):
        return await asyncio.gather(
            *(m.run(PROMPT, noise("embed", 0.1, mode="add", seed=i)) for i in range(24))
        )

    runs = with_model(server.address, ask)
    for i in (0, 7, 23):
        same(runs[i], model.run(PROMPT, noise("embed", 0.1, mode="add", seed=i)))


def test_connecting_can_be_awaited(server):
    async def main():
        model = await aio.connect(server.address)
        try:
            return (await model.run("a")).top()
        finally:
            await model.close()

    assert asyncio.run(main())


def test_a_cancelled_task_cancels_its_call(server):
    never = threading.Event()
    first, *_ = run_events(server.address)

    async def ask(m):
        task = asyncio.create_task(m.run("a"))
        while not fake.count("Run"):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.to_thread(fake.ended.wait, 5)

    with FakeServer(server.address) as fake:
        fake.script["Run"] = [[first, never]]
        assert with_model(fake.address, ask)
        never.set()


def test_leaving_a_stream_cancels_its_call(server):
    never = threading.Event()
    first, *_ = run_events(server.address)

    async def ask(m):
        async with m.stream("a") as stream:
            await stream.__anext__()
        return await asyncio.to_thread(fake.ended.wait, 5)

    with FakeServer(server.address) as fake:
        fake.script["Run"] = [[first, never]]
        assert with_model(fake.address, ask)
        never.set()


def test_a_deadline_is_a_timeout_error(server):
    async def ask(m):
        await m.sweep([PROMPT] * 4, zero("z"), **LONG, timeout=0.05)

    with pytest.raises(TimeoutError):
        with_model(server.address, ask)


def test_a_call_is_made_again(server):
    async def ask(m):
        return (await m.run("a")).top(), (await m.tokenize("a")).ids

    with FakeServer(server.address) as fake:
        fake.script["Run"] = [queue_full(0.1), Failure(grpc.StatusCode.UNAVAILABLE)]
        fake.script["Tokenize"] = [Failure(grpc.StatusCode.UNAVAILABLE)]
        retry = scalpel.Retry(first_pause=0.01)
        assert all(with_model(fake.address, ask, retry=retry))
        assert fake.count("Run") == 3 and fake.count("Tokenize") == 2


def test_the_loop_goes_on_while_a_call_waits(server):
    """Waiting for another attempt blocks nobody else."""

    async def ask(m):
        begin = time.monotonic()
        slow = asyncio.create_task(m.run("a"))
        await asyncio.sleep(0.05)
        await m.run("b", logits=1)
        quick = time.monotonic() - begin
        await slow
        return quick, time.monotonic() - begin

    with FakeServer(server.address) as fake:
        fake.script["Run"] = [queue_full(2.0)]
        quick, slow = with_model(fake.address, ask)
        assert quick < 1.9 < slow


def test_a_failed_connection_leaves_nothing_open():
    async def main():
        with pytest.raises(scalpel.Unavailable):
            await aio.connect("127.0.0.1:9", retry=None)
        with pytest.raises(scalpel.Unavailable):
            async with aio.connect("127.0.0.1:9", retry=None):
                pass

    asyncio.run(main())


# ---- other loops, other processes ----------------------------------------------------------------


def test_a_model_works_in_another_event_loop(server, model):
    """Each `asyncio.run` has one of its own."""

    async def connected():
        return await aio.connect(server.address)

    async def ask(m):
        return (await m.run(PROMPT)).top(), await m.token_id(" Mary")

    mine = asyncio.run(connected())
    expected = model.run(PROMPT).top(), model.token_id(" Mary")
    for _ in range(3):
        assert asyncio.run(ask(mine)) == expected
    assert len(mine._connections) == 1, "those of loops that have ended are let go"

    async def in_threads():
        return await asyncio.gather(
            ask(mine), *(asyncio.to_thread(asyncio.run, ask(mine)) for _ in range(4))
        )

    assert asyncio.run(in_threads()) == [expected] * 5
    asyncio.run(mine.close())
    with pytest.raises(RuntimeError, match="closed; connect again"):
        asyncio.run(ask(mine))


def test_an_asyncio_model_can_be_pickled(server):
    async def ask(m):
        again = pickle.loads(pickle.dumps(m))
        assert again.info.name == m.info.name and again is not m
        return (await again.run("a")).top() == (await m.run("a")).top()

    assert with_model(server.address, ask)
