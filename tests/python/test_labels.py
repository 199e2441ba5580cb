"""Labels of a part: whatever says what an entry is says the model's own indices, in the order
asked."""

import numpy as np
import pytest

import scalpel
import scalpel.report
from scalpel import Logits, capture, display, plots, probe, zero
from scalpel.report.statistics_part import probe_figures
from scalpel.v1 import run_pb2, site_pb2
from tests.python.fake_server import FakeServer, run_events
from tests.python.raw import PROMPT

N_HEAD, T, D_HEAD = 12, 14, 8

# What is selected along each axis, and which indices that is.
HEADS = {"head": ([7, 3], [7, 3]), "one head": (-1, [11]), "step": (range(1, 12, 5), [1, 6, 11])}
POSITIONS = {
    "from the end": ([-1, 2], [13, 2]),
    "range": (slice(1, None, 4), [1, 5, 9, 13]),
    "all": (None, list(range(T))),
}


@pytest.fixture(scope="module")
def whole(model):
    return model.run(PROMPT, capture=["z", "pattern"], logits=Logits.full(position=slice(None)))


def entries(table):
    """The numbers of a table of one statistic, by layer and head."""
    return {(row.layer, row.head): row.value for row in table.itertuples()}


# ---- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", HEADS)
def test_a_table_says_the_models_heads(model, whole, heads):
    asked, indices = HEADS[heads]
    run = model.run(PROMPT, stats=probe("z", "l2_norm", keep="head", head=asked, layer=[9, 2]))
    found = entries(run.stats.to_pandas())
    assert set(found) == {(layer, head) for layer in (2, 9) for head in indices}
    for (layer, head), value in found.items():
        own = whole.capture("z", layer=layer)[:, head].astype(np.float64)
        assert value == pytest.approx(np.linalg.norm(own), rel=1e-6)
    assert [list(result.indices[0]) for result in run.stats] == [indices] * 2


def test_histograms_say_the_models_heads(model, whole):
    asked = probe("z", histogram=(2, -9, 9), keep="head", head=[7, 3], layer=4)
    table = model.run(PROMPT, stats=asked).stats.to_pandas()
    for head in (7, 3):
        own = whole.capture("z", layer=4)[:, head]
        counts = [np.sum((own >= -9) & (own < 0)), np.sum((own >= 0) & (own <= 9))]
        assert list(table[table["head"] == head].value) == counts


def test_named_axes_have_the_models_indices(model, whole):
    asked = probe("pattern", "l2_norm", keep=["head", "query"], head=[7, 3], query=[-1, 2])
    array = model.run(PROMPT, stats=asked).stats.to_xarray("pattern", "l2_norm")
    assert list(array["head"].values) == [7, 3] and list(array["query"].values) == [13, 2]
    for layer, head, query in ((0, 7, 13), (11, 3, 2)):
        own = whole.capture("pattern", layer=layer)[head, query].astype(np.float64)
        at = array.sel(layer=layer, head=head, query=query)
        assert float(at) == pytest.approx(np.linalg.norm(own), rel=1e-6)


def test_what_differs_between_layers_is_no_coordinate(model):
    asked = [probe("z", "std", keep="head", layer=layer, head=[layer]) for layer in (3, 5)]
    array = model.run(PROMPT, stats=asked).stats.to_xarray("z", "std")
    assert array.dims == ("layer", "head") and "head" not in array.coords


def test_variants_say_the_models_heads(model):
    sweep = model.sweep(PROMPT, zero("resid_pre"), over=scalpel.layers([11, 3]),
                        stats=probe("z", "std", keep="head", head=[7, 3], layer=11))  # fmt: skip
    assert sweep.axes[0].values == (11, 3)
    table = sweep.stats_of(sweep.variants[0]).to_pandas()
    assert list(table["head"]) == [7, 3]
    page = scalpel.report.sweep_report(sweep, model.info, "sweep")
    assert '"labels":["7","3"]' in page


# ---- tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("heads", HEADS)
def test_a_tensor_has_the_models_indices(model, whole, heads, positions):
    (head, heads), (position, positions) = HEADS[heads], POSITIONS[positions]
    asked = capture("z", layer=5, head=head, position=position, unit=slice(None, None, 3))
    tensor = model.run(PROMPT, capture=asked).tensor("z")
    units = list(range(0, D_HEAD, 3))
    assert [list(along) for along in tensor.indices] == [positions, heads, units]
    array = tensor.to_xarray()
    own = whole.capture("z", layer=5)
    np.testing.assert_array_equal(array.values, own[np.ix_(positions, heads, units)])
    for position, head, unit in ((positions[0], heads[-1], 3), (positions[-1], heads[0], 6)):
        at = array.sel(position=position, head=head, unit=unit)
        assert float(at) == own[position, head, unit]


def test_logits_and_batches_have_them_too(model, whole):
    run = model.run(
        [PROMPT, "short", PROMPT],
        logits=Logits.full(position=[-1, 0]),
        output_hidden_states=True,
        block_outputs=[3],
        output_attentions=True,
    )
    (logits,) = (t for t in run.tensors if t.kind == "logits" and t.prompts == (0,))
    array = logits.to_xarray()
    assert list(array.position.values) == [13, 0] and array.sizes["unit"] == 2048
    np.testing.assert_array_equal(array.sel(position=0), whole.logits()[0])
    hidden = next(t for t in run.tensors if t.kind == "hidden_states" and len(t.prompts) == 2)
    assert list(hidden.to_xarray().batch.values) == [0, 2]
    (block,) = (block for block in run.block_outputs if block.prompts == (0, 2))
    attentions = block.tensors[1].to_xarray()
    assert list(attentions.coords) == ["batch", "head", "query", "key"]
    assert list(attentions.batch.values) == [0, 2]
    assert list(attentions["key"].values) == list(range(T))


def test_layers_come_in_the_order_asked(model, whole):
    asked = {"layer": [9, 2, -1], "head": 3}
    run = model.run(PROMPT, capture=capture("z", **asked), stats=probe("z", "l2_norm", **asked))
    own = whole.capture("z")[[9, 2, 11]][:, :, [3]]
    np.testing.assert_array_equal(run.capture("z"), own)
    norms = np.linalg.norm(own.astype(np.float64).reshape(3, -1), axis=1)
    np.testing.assert_allclose(run.stat("z", "l2_norm"), norms, rtol=1e-6)
    assert list(run.stats.to_xarray("z", "l2_norm").layer.values) == [9, 2, 11]


# ---- pictures and pages --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def part(model):
    return model.run(
        PROMPT,
        zero("k", layer=5, head=7),
        stats=probe("pattern", "entropy", keep=["head"], head=[7, 3], name="entropy"),
        capture=capture("pattern", layer=5, head=[7, 3], query=[-1, 2], key=[2, 0], name="part"),
        clean=True,
    )


def test_attention_is_named_in_the_order_asked(part, whole):
    import matplotlib

    matplotlib.use("Agg")
    for head in (7, 3):
        ax = plots.attention(part, "part", head=head, clean=True)
        queries, keys = (
            [label.get_text() for label in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis)
        )
        assert queries == ['13 " to"', '2 " and"'] and keys == ['2 " and"', '0 "When"']
        (image,) = ax.images
        own = whole.capture("pattern", layer=5)[head][np.ix_([13, 2], [2, 0])]
        np.testing.assert_array_equal(np.asarray(image.get_array()), own)


def test_a_page_names_the_models_indices(part, model):
    page = scalpel.report.run_report(part, model.info, "part")
    assert '"labels":["7","3"]' in page
    assert '"13 \\" to\\"","2 \\" and\\""' in page
    (figure,) = probe_figures(part, "entropy")
    assert list(figure.columns.labels) == ["7", "3"] and figure.columns.name == "head"
    rows = page.partition("<tbody>")[2]
    cells = '<td class="number">5</td><td class="number">7</td>'
    assert cells in rows and cells.replace(">7<", ">0<") not in rows
    assert "array (2,)" in display.stats_html(part.stats)


# ---- negative layers -----------------------------------------------------------------------------


def test_layers_count_from_the_end(model, whole):
    asked = dict(capture=capture("z", layer=[-1, -3]), stats=probe("resid_post", "std", layer=-2))
    run = model.run(PROMPT, zero("mlp_out", layer=-1), **asked, block_outputs=[-1])
    assert sorted(tensor.layer for tensor in run.tensors) == [9, 11]
    np.testing.assert_array_equal(run.capture("z", layer=-3), whole.capture("z", layer=9))
    np.testing.assert_array_equal(run.capture("z", layer=11), whole.capture("z", layer=-1))
    assert run.stat("resid_post", "std", layer=-2) == run.stat("resid_post", "std", layer=10)
    np.testing.assert_array_equal(run.block_output(-1)[0], run.block_output(11)[0])
    assert run.reports[0].sites_touched == 1
    table = run.stats.to_pandas()
    assert list(table.layer) == [10]
    with pytest.raises(LookupError, match="layer 10"):
        run.capture("z", layer=-2)


def test_where_the_depth_is_not_known_a_layer_is_said_from_the_start(model):
    run = model.run(PROMPT, capture=[capture("z", layer=3), "blocks.0.attn.hook_q"])
    for place in ("z", "blocks.0.attn.hook_q"):
        with pytest.raises(LookupError, match="layer -1: say it as the model counts"):
            run.capture(place, layer=-1)


def test_a_sweep_over_the_last_layers_has_their_numbers(model):
    options = {"metrics": scalpel.kl_from_clean()}
    last = model.sweep(PROMPT, zero("z"), over=scalpel.layers([-1, 3]), **options)
    every = model.sweep(PROMPT, zero("z"), over="layers", **options)
    assert last.axes[0].values == (11, 3) and last.axes[0].labels == ("11", "3")
    np.testing.assert_array_equal(last.array(), every.array()[[11, 3]])
    assert list(last.to_xarray(prompt=0).layer.values) == [11, 3]


def test_a_slice_from_the_end_needs_no_length(model):
    ends = model.run(PROMPT, stats=probe("z", "std", layer=slice(-2, None)))
    assert [result.layer for result in ends.stats] == [10, 11]
    assert capture("z", layer=slice(-4, -2)).proto.place.where.layers == [-4, -3]
    assert capture("z", layer=slice(None)).proto == capture("z").proto
    with pytest.raises(TypeError, match=r"layer: .*write a range"):
        capture("z", layer=slice(1, -1))


@pytest.mark.parametrize("path", [
    "model.transformer.h.5.attn.c_attn:output", "transformer.h.5.attn.c_attn.output",
    "transformer.h[5].attn.c_attn.output",
])  # fmt: skip
def test_names_of_other_libraries_go_as_they_are(model, path):
    run = model.run(PROMPT, capture=path, stats={path: "std"})
    expected = model.run(PROMPT, capture=capture("qkv", layer=5))
    np.testing.assert_array_equal(run.capture(path), expected.capture("qkv"))
    assert run.stat(path, "std").shape == ()


def test_a_steering_vector_may_have_leading_axes(model):
    vector = np.linspace(-1, 1, 96, dtype=np.float32)
    flat, stacked = (
        model.run(PROMPT, scalpel.add("resid_pre", value, layer=3), logits="full").logits()
        for value in (vector, vector[None, None])
    )
    np.testing.assert_array_equal(flat, stacked)


# ---- an older server -----------------------------------------------------------------------------


def older(events):
    """The answers of a server that does not say which indices an axis has."""
    for event in events:
        if event.HasField("layer_statistics"):
            for result in event.layer_statistics.results:
                del result.axes[:]
        if event.tensor_chunk.HasField("header"):
            del event.tensor_chunk.header.axes[:]
    return events


def test_of_an_older_server_only_what_is_whole_is_labelled(server):
    request = run_pb2.RunRequest(
        prompts=[{"text": PROMPT}],
        probes=[
            probe("z", "std", keep="head", layer=3, head=[7, 3], name="part").proto,
            probe("z", "std", keep="head", layer=3, name="whole").proto,
        ],
        captures=[
            capture("z", layer=3, head=[7, 3], position=slice(2, None), name="part").proto,
            capture("z", layer=3, name="whole").proto,
        ],
        logits=Logits.full(position=[-1]).proto,
    )
    events = older(run_events(server.address, request))
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        fake.script["Run"] = [events]
        run = model.run_request(request)
        assert run.tensor("part").indices == (None, None, range(D_HEAD))
        assert list(run.tensor("part").to_xarray().coords) == ["unit"]
        whole = run.tensor("whole").to_xarray()
        assert list(whole.coords) == ["position", "head", "unit"] and whole.sizes["head"] == N_HEAD
        (logits,) = (tensor for tensor in run.tensors if tensor.kind == "logits")
        assert list(logits.to_xarray().coords) == ["unit"]
        assert list(run.stats.to_xarray("whole", "std")["head"].values) == list(range(N_HEAD))
        assert "head" not in run.stats.to_xarray("part", "std").coords
        table = run.stats.to_pandas()
        assert table[table.probe == "part"]["head"].isna().all()
        assert list(table[table.probe == "whole"]["head"]) == list(range(N_HEAD))
        page = scalpel.report.run_report(run, model.info, "older")
        assert '"labels":["[0]","[1]"]' in page and '"labels":["0","1"]' not in page


def test_indices_that_do_not_fit_the_array_are_refused(server):
    request = run_pb2.RunRequest(
        prompts=[{"text": PROMPT}], captures=[capture("z", layer=3, head=[7, 3]).proto]
    )
    events = run_events(server.address, request)
    header = next(e.tensor_chunk.header for e in events if e.tensor_chunk.HasField("header"))
    assert header.axes[1].axis == site_pb2.AXIS_HEAD
    header.axes[1].CopyFrom(site_pb2.AxisIndices(axis=site_pb2.AXIS_HEAD, values=[7, 3, 4]))
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        fake.script["Run"] = [events]
        with pytest.raises(scalpel.ProtocolError, match="3"):
            model.run_request(request)
