"""Path patching as a call: its axes, what it costs, what it refuses, and sweeps in parts."""

import itertools
import types

import grpc
import numpy as np
import pytest

import scalpel
from scalpel import (
    chunks,
    heads,
    layers,
    loss,
    node,
    paths,
    plans,
    plots,
    positions,
    prob,
    spread,
    tokens,
)
from scalpel import values as numbers
from scalpel.v1 import service_pb2_grpc
from tests.python.fake_server import Failure, FakeServer
from tests.python.raw import OTHER, PROMPT
from tests.python.test_aio import with_model
from tests.python.test_pairs import LONGER
from tests.support.server import Server

N_LAYER, N_HEAD, T = 12, 12, 14
NAMES = {"answer": " Mary", "wrong": " John"}
DIRECT = {**NAMES, "over": ["layers", "heads"]}


# ---- what comes back -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def direct(model):
    """The direct effect of every head."""
    return model.path_patch(PROMPT, OTHER, node("z"), **DIRECT, metrics=prob(" Mary", name="p"))


def test_a_map_of_heads_is_that_of_each_head(model, direct):
    assert direct.score.shape == (N_LAYER, N_HEAD) and direct.metrics == ("score", "p")
    layer, head = map(int, np.unravel_index(np.argmin(direct.score), direct.shape))
    alone = model.path_patch(PROMPT, OTHER, node("z", layer=layer, head=head), **NAMES)
    assert alone.score[0] == direct.score[layer, head] < 0.99
    assert direct.variant(layer, head).coordinates == (layer, head)
    assert direct.extremes("score", n=1, relative_to=2)[0][0] == {"layer": layer, "head": head}


def test_what_shows_it_knows_its_axes(direct):
    frame = direct.to_pandas().set_index(["metric", "layer", "head"])["value"]
    assert frame["score", 11, 4] == direct.score[11, 4] and frame["p", 2, 3] == direct["p"][2, 3]
    assert direct.to_xarray().dims == ("prompt", "layer", "head")
    assert list(direct.to_xarray().layer.values) == list(range(N_LAYER))
    axes = plots.heat_map(direct)
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn, direct.score)
    assert "1 if nothing changes" in axes.get_title() and axes.get_ylabel() == "layer"
    assert "12 layer x 12 head" in repr(direct) and "score" in direct._repr_html_()


def test_the_copies_of_the_prompts_are_not_shown(model):
    result = model.path_patch(PROMPT, OTHER, node("z", layer=3), **NAMES, metrics=loss(),
                              stats={"resid_post": "std"})  # fmt: skip
    assert len(result.prompts) == len(result.sources) == 1
    assert set(result.to_pandas()["prompt"]) == {0}
    assert result.clean("loss[1]") == model.sweep(PROMPT, variants=[()], metrics=loss()).clean()
    assert result.stat("resid_post", "std").shape == (1, N_LAYER)
    assert len(result.request.prompts) == 2
    assert {one.prompt for one in result.variants[0].stats} == {0}
    assert {one.prompt for one in result.clean_stats} == {0}


def test_positions_are_named_with_their_tokens(model):
    result = model.path_patch(PROMPT, OTHER, node("embed"), node("v", layer=3), **NAMES,
                              over="positions")  # fmt: skip
    assert result.axes[0].labels[9] == '9 " John"' and result.shape == (T,)
    assert result.axes[0].values == tuple(range(T))
    np.testing.assert_array_equal(np.delete(result.score, 9), 1)
    assert result.score[9] != 1
    few = model.path_patch(PROMPT, OTHER, node("embed"), node("v", layer=3), **NAMES,
                           over=positions([-5, 2]))  # fmt: skip
    assert few.axes[0].labels[0] == '9 " John"' and few.score[0] == result.score[9]


def test_all_layers_are_those_from_which_there_is_a_path(model):
    def layers_of(sender, receiver, **options):
        result = model.path_patch(PROMPT, OTHER, sender, receiver, **NAMES, **options)
        return result.axes[0].values

    every = {"over": "layers"}
    assert layers_of(node("z"), node("q", layer=3), **every) == (0, 1, 2)
    assert layers_of(node("z"), node("ln2_in", layer=3), **every) == (0, 1, 2, 3)
    assert layers_of(node("mlp_out"), node("ln2_in", layer=3), **every) == (0, 1, 2)
    assert layers_of(node("attn_out"), node("ln_f_in"), **every) == tuple(range(N_LAYER))
    assert layers_of(node("z"), node("q", layer=-9), over=layers([0, -10])) == (0, -10)
    both = [node("z"), node("mlp_out", layer=0)]
    assert layers_of(both, node("ln2_in", layer=2), over=layers(of=0)) == (0, 1, 2)


def test_a_node_of_all_layers_sends_from_those_before_its_receivers(model):
    all_of_them = model.path_patch(PROMPT, OTHER, node("mlp_out"), node("q", layer=3), **NAMES)
    named = model.path_patch(PROMPT, OTHER, node("mlp_out", layer=range(3)), node("q", layer=3),
                             **NAMES)  # fmt: skip
    assert all_of_them.score[0] == named.score[0] != 1


def test_receivers_that_nothing_reaches_are_left_as_they_are(model):
    """They would get what they have, and the prompt would be computed from there on."""
    result = model.path_patch(PROMPT, OTHER, node("z", layer=7), node("q"), **NAMES)
    received = result.request.variants.variants[0].interventions[-1].place
    assert received.path == "q" and list(received.where.layers) == [8, 9, 10, 11]


def test_other_names_of_sites(model):
    mine, theirs = (
        model.path_patch(PROMPT, OTHER, node(z, layer=3), node(q, layer=5), **NAMES).score
        for z, q in (("z", "q"), ("attn.hook_z", "attn.hook_q"))
    )
    assert mine == theirs != 1


# ---- what it costs, and in how many calls --------------------------------------------------------


def test_what_it_would_cost(model):
    before = model.status().engine.tokens
    started = model.validate_path_patch(PROMPT, OTHER, node("z"), **DIRECT)
    assert started.variants == N_LAYER * N_HEAD and started.cost.flops > 1e9
    assert model.status().engine.tokens == before
    assert model.validate_knock_out_edges(PROMPT, metrics=loss()).variants == T * (T + 1) / 2


@pytest.mark.parametrize("limit", [
    ("--max-variants", "10"),
    ("--max-sweep-places", "1000"),
    ("--max-request-bytes", "8192"),
    ("--max-request-fields", "4000"),
], ids=str)  # fmt: skip
def test_more_than_a_server_takes_are_several_calls(model_dir, direct, limit):
    with (
        Server("--threads", "1", *limit, model=model_dir) as small,
        FakeServer(small.address) as counting,
        scalpel.connect(counting.address) as model,
        scalpel.connect(small.address) as at_once,
    ):
        parts = model.path_patch(PROMPT, OTHER, node("z"), **DIRECT)
        calls = counting.count("Sweep") - 1  # The first asks for the tokens.
        cost = model.validate_path_patch(PROMPT, OTHER, node("z"), **DIRECT).cost
        with pytest.raises(scalpel.ScalpelError, match=r"at most|more than|larger than"):
            at_once.sweep_request(parts.request)
    np.testing.assert_array_equal(parts.score, direct.score)
    assert parts.axes == direct.axes and parts.finished.tokens_computed > 0
    assert 1 < calls <= 15 and cost.flops >= direct.cost.flops


def test_what_came_before_a_failure_is_kept(model_dir, direct):
    """The first of three calls is whole, and the second breaks off."""
    second = chunks.split(direct.request, direct.request, 50)[1].request
    with (
        Server("--threads", "1", "--max-variants", "50", model=model_dir) as small,
        grpc.insecure_channel(small.address) as channel,
        FakeServer(small.address) as failing,
        scalpel.connect(failing.address, retry=None) as model,
    ):
        begun = list(service_pb2_grpc.InterventionServiceStub(channel).Sweep(second))[:20]
        came = [50 + r.variant.index for r in begun if r.HasField("variant")]
        failing.script["Sweep"] = [None, None, [*begun, Failure(grpc.StatusCode.INTERNAL)]]
        with pytest.raises(scalpel.ServerError) as raised:
            model.path_patch(PROMPT, OTHER, node("z"), **DIRECT)
    partial = raised.value.partial
    assert isinstance(partial, scalpel.PathPatchingResult) and partial.finished is None
    expected = np.full(N_LAYER * N_HEAD, np.nan)
    which = [*range(50), *came]
    expected[which] = direct.score.ravel()[which]
    assert len(came) > 10
    np.testing.assert_array_equal(partial.score.ravel(), expected)


def test_the_timeout_is_of_all_calls_together(model, monkeypatch):
    """By the calls of a plan, on a clock that goes by three seconds a call."""
    held = model.get_info()
    held.proto.limits.max_variants = 50
    clock = itertools.count(100, 3)
    monkeypatch.setattr(plans, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    asked = paths.path_patch(PROMPT, OTHER, node("z"), **DIRECT, timeout=10)
    steps = asked.run(held)
    call = next(steps)  # The tokens of the prompts.
    timeouts = []
    for _ in range(3):
        call = steps.send(model.read(call))
        timeouts.append(call.timeout)
    last = model.read(call)
    with pytest.raises(StopIteration) as ended:
        steps.send(last)
    assert timeouts == [7, 4, 1] and ended.value.value.finished is not None


def test_spread_and_asyncio_give_the_same(server, direct):
    asked = (PROMPT, OTHER, node("z")), DIRECT
    awaited = with_model(server.address, lambda m: m.path_patch(*asked[0], **asked[1]))
    with spread.connect([server.address, server.address]) as replicas:
        shared = replicas.path_patch(*asked[0], **asked[1])
        shared_edges = replicas.knock_out_edges(PROMPT, metrics=loss())
    for other in (awaited, shared):
        np.testing.assert_array_equal(other.score, direct.score)
        assert other.axes == direct.axes and other.shape == direct.shape
    edges = with_model(server.address, lambda m: m.knock_out_edges(PROMPT, metrics=loss()))
    np.testing.assert_array_equal(shared_edges.array(), edges.array())
    cost = with_model(server.address, lambda m: m.validate_path_patch(*asked[0], **asked[1])).cost
    assert cost.rows == direct.cost.rows


# ---- what it refuses -----------------------------------------------------------------------------


def refused(model, senders, receivers=None, **options):
    with pytest.raises(ValueError, match=":") as raised:
        model.path_patch(PROMPT, OTHER, senders, receivers, **{**NAMES, **options})
    assert not isinstance(raised.value, scalpel.ScalpelError)
    return str(raised.value)


@pytest.mark.parametrize("sender, receiver", [
    (node("z", layer=3), node("q", layer=3)),
    (node("z", layer=4), [node("q", layer=3), node("ln2_in", layer=3)]),
    (node("mlp_out", layer=3), node("ln2_in", layer=3)),
    (node("attn_out", layer=-1), node("v", layer=-2)),
    (node("attn_out", layer=-1), node("v", layer=5)),
    (node("z"), node("q", layer=0)),
    (node("z", layer=[2, 3]), node("ln1_in", layer=3)),
], ids=str)  # fmt: skip
def test_a_sender_behind_its_receivers_is_refused(model, sender, receiver):
    before = model.status().engine.tokens
    assert "behind all that the receivers read" in refused(model, sender, receiver)
    assert model.status().engine.tokens == before


def test_so_is_one_of_several_and_one_on_an_axis(model):
    senders = [node("z", layer=1), node("z", layer=5)]
    assert refused(model, senders, node("q", layer=4)).startswith("senders[1]: node('z', layer=5)")
    said = refused(model, node("z"), node("q", layer=4), over=layers([3, 4]))
    assert "writes in layer 4" in said
    assert "no layer" in refused(model, node("z"), node("q", layer=0), over="layers")


def test_a_path_stays_at_its_position(model):
    apart = node("z", layer=3, position=[1, 2]), node("q", layer=5, position=[3, -1])
    assert "a direct path stays at its position" in refused(model, *apart)
    here = model.path_patch(PROMPT, OTHER, node("z", layer=3, position=[2, -1]), apart[1], **NAMES)
    assert here.score[0] != 1


@pytest.mark.parametrize("senders, receivers, options, said", [
    (node("pattern", layer=3), None, {}, "senders: node('pattern', layer=3) is no sender"),
    (node("z", layer=3), node("z", layer=4), {}, "receivers: node('z', layer=4) is no receiver"),
    (node("blocks.3.attn.hook_z"), None, {}, "is no sender; what can write"),
    ([], None, {}, "senders: no node"),
    (node("z"), [], {}, "receivers: no node"),
    (node("z", layer=3), None, {"over": "layers"}, "over: sets a layer that senders"),
    (node("z"), None, {"over": ["heads", heads([1])]}, "over[1]: a second axis 'head'"),
    (node("z"), None, {"over": numbers([1, 2])}, "is not one of layers, heads, positions"),
    (node("z"), None, {"direction": "both"}, "direction: 'both'"),
    (node("z"), None, {"answer": ""}, "answer: no token"),
])  # fmt: skip
def test_what_else_is_refused(model, senders, receivers, options, said):
    assert said in refused(model, senders, receivers, **options)


def test_what_is_no_node():
    with pytest.raises(TypeError, match="senders: 'z' is no node; write node"):
        paths.path_patch(PROMPT, OTHER, "z", **NAMES)
    with pytest.raises(TypeError, match="prompt: a path is patched in every pair"):
        node("z", prompt=0)
    with pytest.raises(TypeError, match="no selector `layers`; write `layer`"):
        node("z", layers=3)


def test_pairs_that_do_not_match(model):
    with pytest.raises(ValueError, match=r"clean has 15 tokens, corrupted has 14"):
        model.path_patch(LONGER, OTHER, node("z"), **NAMES)
    last = model.path_patch(LONGER, OTHER, node("z", position=-1), **NAMES)
    assert last.score[0] != 1
    with pytest.raises(ValueError, match="corrupted: as many prompts as clean"):
        paths.path_patch([PROMPT], [OTHER, OTHER], node("z"), **NAMES)


@pytest.mark.parametrize("options, argument", [
    ({"senders": node("z", head=12)}, "senders.head"),
    ({"senders": node("z"), "over": heads([12])}, "senders.head"),
    ({"senders": [node("embed"), node("mlp_out", layer=-13)]}, "senders[1].layer"),
    ({"senders": node("mlp_out", head=1)}, "senders.head"),
    ({"receivers": node("q", layer=12)}, "receivers.layer"),
    ({"receivers": node("q", layer=5, position=tokens(1999))}, "receivers.position"),
    ({"answer": " no such token"}, "answer"),
    ({"answer_position": 99}, "answer_position"),
    ({"metrics": [prob(" Mary"), prob(" no such token")]}, "metrics[1]"),
    ({"stats": {"resid": "std"}}, "stats['resid']"),
], ids=str)  # fmt: skip
def test_what_the_server_refuses_names_an_argument(model, options, argument):
    asked = {"senders": node("z"), **NAMES, **options}
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.path_patch(PROMPT, OTHER, **asked)
    found = [violation.argument for violation in raised.value.violations]
    assert any(one.startswith(argument) for one in found), raised.value


# ---- receivers on axes ---------------------------------------------------------------------------


def test_a_map_of_receivers_is_that_of_each(model):
    result = model.path_patch(PROMPT, OTHER, node("mlp_out", layer=8), node("k"), **NAMES,
                              over_receivers=["layers", "heads"])  # fmt: skip
    assert [axis.name for axis in result.axes] == ["to_layer", "to_head"]
    assert result.axes[0].values == (9, 10, 11) and result.score.shape == (3, N_HEAD)
    at = tuple(map(int, np.unravel_index(np.argmax(abs(result.score - 1)), result.shape)))
    alone = model.path_patch(PROMPT, OTHER, node("mlp_out", layer=8),
                             node("k", layer=9 + at[0], head=at[1]), **NAMES)  # fmt: skip
    assert alone.score[0] == result.score[at] != 1
    assert plots.heat_map(result).get_ylabel() == "to_layer"


def test_senders_by_receivers(model):
    """Cells without a path are left out, and what has one is as by itself."""
    result = model.path_patch(PROMPT, OTHER, node("mlp_out"), node("v"), **NAMES,
                              over="layers", over_receivers="layers")  # fmt: skip
    assert [axis.name for axis in result.axes] == ["layer", "to_layer"]
    assert result.axes[0].values == tuple(range(11)) and result.axes[1].values == tuple(
        range(1, 12)
    )
    later = np.arange(1, 12) > np.arange(11)[:, None]
    np.testing.assert_array_equal(np.isnan(result.score), ~later)
    assert len(result.variants) == later.sum() and len(result.to_pandas()) == later.sum()
    alone = model.path_patch(PROMPT, OTHER, node("mlp_out", layer=2), node("v", layer=6), **NAMES)
    assert result.score[2, 5] == alone.score[0] != 1
    assert result.variant(2, 5).metrics[0].values[0] == pytest.approx(1 - alone.score[0])


def test_receivers_of_which_an_axis_sets_one(model):
    """`of` counts the receivers; the other stays where it is."""
    receivers = [node("q", layer=5), node("v")]
    result = model.path_patch(PROMPT, OTHER, node("embed"), receivers, **NAMES,
                              over_receivers=layers([3, 6], of=1, name="values of"))  # fmt: skip
    assert result.axes[0].name == "values of"
    for i, layer in enumerate((3, 6)):
        named = [receivers[0], node("v", layer=layer)]
        alone = model.path_patch(PROMPT, OTHER, node("embed"), named, **NAMES)
        assert result.score[i] == alone.score[0]
    assert result.score[0] != result.score[1]


@pytest.mark.parametrize("sender, receiver, options, said", [
    ("z", node("q"), {"over": layers([5]), "over_receivers": layers([3, 4])}, "no path from any"),
    ("z", node("q", layer=3), {"over_receivers": "layers"}, "over_receivers: sets a layer"),
    ("z", node("q"), {"over_receivers": numbers([1])}, "over_receivers: values([1]) is not one of"),
    ("z", node("q", layer=0), {"over": "layers"}, "over: there is no layer"),
    ("z", node("q"), {"over": layers(of=1)}, "over: layers(of=1) is of one that there is not"),
    ("z", node("q"), {"over_receivers": heads([1], of=2)}, "of one that there is not; there are 1"),
    ("z", node("q"), {"over": heads(name="to_head"), "over_receivers": "heads"}, "have one name"),
    ("z", node("q"), {"over": layers([11]), "over_receivers": "layers"}, "over_receivers: there"),
])  # fmt: skip
def test_what_is_refused_of_receivers(model, sender, receiver, options, said):
    assert said in refused(model, node(sender), receiver, **options)


def test_a_cell_in_which_one_sender_has_no_path_is_left_out(model):
    """As the call without axes would be refused."""
    senders = [node("mlp_out", layer=0), node("z", layer=5)]
    result = model.path_patch(PROMPT, OTHER, senders, node("k"), **NAMES, over_receivers="layers")
    np.testing.assert_array_equal(np.isnan(result.score), np.arange(1, 12) <= 5)
    assert "behind all" in refused(model, senders, node("k", layer=4))
