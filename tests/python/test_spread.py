"""Sweeps over several servers: the answer is one server's, and a server that dies is not missed."""

import os
import signal
import socket
import threading
import time
import warnings

import grpc
import numpy as np
import pytest

import scalpel
from scalpel import (
    Retry,
    add,
    connection,
    directions,
    kl_from_clean,
    noise,
    probe,
    replica,
    scale,
    spread,
    top_k,
    values,
    zero,
)
from tests.python import equivalents, raw
from tests.python.executors import check_killed_server
from tests.python.fake_server import Failure, FakeServer, queue_full
from tests.python.raw import LONG, OTHER, PROMPT
from tests.python.test_aio import same
from tests.support import environment

KL = kl_from_clean()
HASTY = Retry(attempts=3, first_pause=0.01)
# 2016 variants, some seconds of work.
UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE, "it went away")


@pytest.fixture(scope="module")
def replicas(servers):
    with spread.connect([one.address for one in servers], retry=HASTY) as connected:
        yield connected


@pytest.fixture
def fakes(server):
    """Two servers that fail when told to, before one real one."""
    with FakeServer(server.address) as one, FakeServer(server.address) as other:
        yield one, other


# ---- the same answer -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", equivalents.SWEEPS)
def test_the_examples_are_answered_as_by_one_server(replicas, client, name):
    arguments, options = equivalents.SWEEPS[name]
    expected = client.sweep(example(name))
    raw.assert_same_sweep(replicas.sweep(*arguments, **options), expected)
    raw.assert_same_sweep(replicas.sweep_request(example(name)), expected)


def example(name):
    return scalpel.load_request(environment.EXAMPLES / f"{name}.json")


EXPERIMENTS = {
    "a list": ([PROMPT, OTHER], {
        "variants": [zero("z", layer=i, head=j) for i in range(5) for j in range(3)] + [[]],
        "metrics": [KL, top_k(2)], "reports": True,
    }),
    "names": ("a b", {"variants": {f"variant {i}": scale("z", i) for i in range(20)},
                      "metrics": KL}),
    "directions": (PROMPT, {
        "interventions": add("resid_post", layer=3),
        "over": [directions(np.eye(9, 96, dtype=np.float32)), "positions"], "metrics": KL,
    }),
    "statistics": (PROMPT, {
        "interventions": scale("resid_post"), "over": ["layers", values([0, 0.5, 2])],
        "metrics": KL, "stats": probe("resid_post", "std", keep="position", quantiles=[0.5]),
    }),
    "noise": (PROMPT, {"interventions": noise("mlp_post", 3), "over": "layers", "seed": 7,
                       "metrics": KL, "reports": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_experiments_are_answered_as_by_one_server(servers, model, name, chunk):
    prompts, options = EXPERIMENTS[name]
    with spread.connect([one.address for one in servers], chunk=chunk) as replicas:
        mine, theirs = replicas.sweep(prompts, **options), model.sweep(prompts, **options)
    same(mine, theirs)
    assert mine.normalized == theirs.normalized and mine.axes == theirs.axes
    assert mine.prompts == theirs.prompts
    assert (mine.cost.rows, mine.cost.flops) == (theirs.cost.rows, theirs.cost.flops)
    assert mine._clean_metrics == theirs._clean_metrics
    assert mine.clean_stats.to_pandas().equals(theirs.clean_stats.to_pandas())
    for one, other in zip(mine.variants, theirs.variants, strict=True):
        assert (one.name, one.coordinates) == (other.name, other.coordinates)
        assert one.metrics == other.metrics and one.reports == other.reports
        statistics = theirs.stats_of(other).to_pandas()
        assert mine.stats_of(one).to_pandas().equals(statistics)


def test_patching_is_spread_too(replicas, model):
    arguments = {"clean": PROMPT, "corrupted": OTHER, "answer": " Mary", "wrong": " John"}
    mine, theirs = replicas.patch(**arguments), model.patch(**arguments)
    assert isinstance(mine, scalpel.PatchingResult)
    np.testing.assert_array_equal(mine.score, theirs.score)


def test_both_servers_work(fakes):
    with spread.connect([fake.address for fake in fakes]) as replicas:
        replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL)
    assert all(fake.count("Sweep") >= 3 for fake in fakes)


@pytest.mark.parametrize("options", [
    {"interventions": zero("z"), "over": ["layers", "heads"]},
    {"interventions": zero("resid_post"), "over": ["layers", "positions"]},
    {"variants": [zero("z", head=i % 12, layer=i // 12) for i in range(140)]},
])  # fmt: skip
def test_more_variants_than_a_server_takes_at_once(server, model, options):
    with Limited(server.address, 100) as fake, spread.connect([fake.address]) as replicas:
        mine = replicas.sweep(PROMPT, **options, metrics=KL)
    theirs = model.sweep(PROMPT, **options, metrics=KL)
    np.testing.assert_array_equal(mine.array(), theirs.array())
    assert mine.axes == theirs.axes and mine.digest == "" and mine.finished
    assert mine.cost.rows > len(theirs.variants)


class Limited(FakeServer):
    """Says that it takes only so many variants, and refuses more."""

    def __init__(self, address, most):
        super().__init__(address)
        self.most = most

    def GetModel(self, request, context):
        response = super().GetModel(request, context)
        response.limits.max_variants = self.most
        return response

    def Sweep(self, request, context):
        for response in super().Sweep(request, context):
            if response.HasField("started") and response.started.variants > self.most:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too many variants")
            yield response


# ---- servers that fail ---------------------------------------------------------------------------


def test_a_server_that_is_killed_is_not_missed(server, start_server, model):
    check_killed_server(server, start_server("--threads", "1"), model)


def test_a_chunk_that_breaks_off_is_done_elsewhere(fakes, model):
    broken, whole = fakes
    options = {"over": "layers", "metrics": KL}
    with spread.connect([fake.address for fake in fakes], retry=HASTY) as replicas:
        first = next(iter(broken._stub.Sweep(example("19-sweep-heads"))))
        broken.script["Sweep"] = [None, [first, UNAVAILABLE], *[[first, UNAVAILABLE]] * 9]
        mine = replicas.sweep(PROMPT, zero("z"), **options)
    same(mine, model.sweep(PROMPT, zero("z"), **options))
    assert 2 <= broken.count("Sweep") <= 1 + HASTY.attempts and whole.count("Sweep") == 12


def test_an_answer_that_breaks_off_is_no_reason_to_leave(fakes, model):
    """A proxy says INTERNAL when a server behind it dies; the next call reaches another."""
    failure = Failure(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
    first = next(iter(fakes[0]._stub.Sweep(example("19-sweep-heads"))))
    one, other = fakes
    with spread.connect([one.address, other.address], retry=HASTY) as replicas:
        one.script["Sweep"] = [None, [first, failure], [first, failure]]  # It validates.
        other.script["Sweep"] = [[first, failure], [first, failure]]
        same(replicas.sweep(PROMPT, zero("z"), over="layers", metrics=KL),
             model.sweep(PROMPT, zero("z"), over="layers", metrics=KL))  # fmt: skip
        one.script["Sweep"] = [None, *[[first, failure]] * 99]
        other.script["Sweep"] = [[first, failure]] * 99
        with pytest.raises(scalpel.ServerError):
            replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL)


def test_a_proxy_does_not_lead_all_chunks_to_one_server(server):
    with FakeServer(server.address) as fake, spread.connect([fake.address] * 2) as replicas:
        replicas.sweep(PROMPT, zero("z"), over="layers", metrics=KL)
    sent = [metadata["x-scalpel-affinity"] for method, metadata in fake.calls if method == "Sweep"]
    # The whole is validated like its first chunk.
    assert len(sent) == 13 and len(set(sent)) == 12


def test_closing_does_not_wait_for_a_server_that_says_nothing(server):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        one = replica.Replica(
            connection.settings(address, timeout=5.0, retry=None, keepalive=None), None
        )
        connecting = threading.Thread(target=spread._info_or_failure, args=[one], daemon=True)
        connecting.start()
        connecting.join(0.3)
        assert connecting.is_alive()
        begin = time.monotonic()
        one.close()
        assert time.monotonic() - begin < 1


def test_a_server_that_comes_back_is_used_again(fakes, model):
    stumbling, _ = fakes
    options = {"over": ["layers", "heads"], "metrics": KL}
    with spread.connect([fake.address for fake in fakes], chunk=4, retry=HASTY) as replicas:
        stumbling.script["Sweep"] = [None, *[UNAVAILABLE] * HASTY.attempts]
        same(replicas.sweep(PROMPT, zero("z"), **options),
             model.sweep(PROMPT, zero("z"), **options))  # fmt: skip
    assert stumbling.count("Sweep") > 2 + HASTY.attempts


def test_a_full_queue_is_not_the_end(fakes, model):
    with spread.connect([fake.address for fake in fakes], retry=HASTY) as replicas:
        fakes[0].script["Sweep"] = [None, *[queue_full(0.01)] * 5]
        same(replicas.sweep(PROMPT, zero("z"), over="layers", metrics=KL),
             model.sweep(PROMPT, zero("z"), over="layers", metrics=KL))  # fmt: skip


def test_a_server_that_is_not_there_is_warned_of(server, model):
    with pytest.warns(RuntimeWarning, match="127.0.0.1:9 does not answer") as caught:
        replicas = spread.connect(["127.0.0.1:9", server.address], retry=HASTY)
    assert caught[0].filename == __file__
    with replicas:
        same(replicas.sweep(PROMPT, zero("z"), over="layers", metrics=KL),
             model.sweep(PROMPT, zero("z"), over="layers", metrics=KL))  # fmt: skip


def test_nothing_is_warned_of_where_all_answer(servers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spread.connect([one.address for one in servers]).close()


def test_no_server_at_all_is_an_error():
    with pytest.raises(scalpel.Unavailable, match=r"127\.0\.0\.1"):
        spread.connect(["127.0.0.1:9", "127.0.0.1:10"], retry=None)


def test_what_came_before_all_died_is_kept(fakes):
    one, other = fakes
    with spread.connect([one.address, other.address], chunk=12, retry=HASTY) as replicas:
        one.script["Sweep"] = [None, None, *[UNAVAILABLE] * 99]
        other.script["Sweep"] = [UNAVAILABLE] * 99
        with pytest.raises(scalpel.Unavailable, match="it went away") as raised:
            replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL)
    partial = raised.value.partial
    assert len(partial.variants) == 12 and partial.finished is None
    assert np.isfinite(partial.array()).sum() == 12


class OtherWeights(FakeServer):
    """Says that it holds other weights, if told to."""

    differs = True

    def GetModel(self, request, context):
        response = super().GetModel(request, context)
        if self.differs:
            response.weights_sha256 = "f" * 64
        return response


def test_other_weights_are_refused(server):
    with OtherWeights(server.address) as other:
        with pytest.raises(scalpel.ReplicasDiffer, match="do not belong together"):
            spread.connect([server.address, other.address])
        other.differs = False
        with spread.connect([server.address, other.address]) as replicas:
            other.differs = True  # It was replaced meanwhile.
            with pytest.raises(ValueError, match="weights ffffffffffffffff") as raised:
                replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL)
    assert isinstance(raised.value.partial, scalpel.SweepResult)


# ---- what is wrong, deadlines, cancelling --------------------------------------------------------


def test_errors_name_the_argument(replicas):
    with pytest.raises(scalpel.InvalidArgument) as raised:
        replicas.sweep(PROMPT, [zero("z"), zero("k", layer=12)], over="heads", metrics=KL)
    assert [one.argument for one in raised.value.violations] == ["interventions[1].layer"]


@pytest.mark.parametrize("addresses", [[], "127.0.0.1:1"])
def test_addresses_are_a_list(addresses):
    with pytest.raises(ValueError, match="addresses"):
        spread.connect(addresses)


def test_a_chunk_has_a_variant(server):
    with pytest.raises(ValueError, match="chunk"):
        spread.connect([server.address], chunk=0)


def test_a_deadline_is_of_the_whole_sweep(replicas):
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        replicas.sweep([PROMPT] * 64, zero("z"), **LONG, timeout=1.0)
    assert time.monotonic() - begin < 5
    assert isinstance(raised.value.partial, scalpel.SweepResult)


def test_ctrl_c_stops_the_servers(fakes):
    never = threading.Event()
    with spread.connect([fake.address for fake in fakes]) as replicas:
        for fake in fakes:
            fake.script["Sweep"] = [[never]] * 9
        fakes[0].script["Sweep"].insert(0, None)  # It validates.

        def interrupt():
            for fake in fakes:
                fake.ended.clear()
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(0.5, interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL)
        assert all(fake.ended.wait(5) for fake in fakes)
        never.set()


def test_progress_is_shown(replicas, capsys):
    replicas.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=KL, progress=True)
    assert "144/144" in capsys.readouterr().err
