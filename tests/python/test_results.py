"""Results as arrays, tables and pictures: shapes, names, and how things are found."""

import grpc
import numpy as np
import pandas
import pytest
import xarray

import scalpel
from scalpel import Logits, calls, capture, logit_diff, prob, probe, scale, top_k, zero
from scalpel.events import Variant
from tests.python.fake_server import Failure, FakeServer
from tests.python.raw import OTHER, PROMPT
from tests.python.test_aio import with_model

N_LAYER, N_HEAD, D_MODEL, D_HEAD, T = 12, 12, 96, 8, 14


@pytest.fixture(scope="module")
def run(model):
    """One run with everything."""
    return model.run(
        [PROMPT, "The war lasted"],
        [zero("k", layer=5, head=2), scale("resid_post", 0.1, layer=9, name="smaller")],
        stats=[
            probe("resid_post", "std", "mean", quantiles=[0.5], histogram=(4, -2, 2)),
            probe("pattern", "entropy", keep=["head", "query"], layer=[3, 5], name="entropy"),
            probe("blocks.7.hook_resid_post", "rms", when="before"),
            probe("ln_f_out", "max"),
        ],
        capture=[
            "pattern",
            "blocks.5.attn.hook_z",
            capture("resid_post", layer=[8, 9], when="before", name="whole"),
            capture("ln_f_out", dtype="bfloat16"),
        ],
        logits=Logits.top_k(3, position=[0, -1]),
        block_outputs=[3],
        output_attentions=True,
        output_hidden_states=True,
        clean=True,
    )


# ---- statistics ----------------------------------------------------------------------------------


def test_a_statistic_is_an_array_over_layers(run):
    std = run.stat("resid_post[0]", "std")
    assert std.shape == (N_LAYER,) and std.dtype == np.float64
    clean = run.stat("resid_post[0]", "std", clean=True)
    np.testing.assert_array_equal(std[:5], clean[:5])
    assert std[9] == pytest.approx(0.1 * run.stat("blocks.7.hook_resid_post", "rms"), rel=0.5)
    assert std[9] < 0.2 * clean[9]


def test_one_layer_has_no_axis_of_layers(run):
    assert run.stat("resid_post[0]", "std", layer=3).shape == ()
    assert run.stat("blocks.7.hook_resid_post", "rms").shape == ()
    assert run.stat("ln_f_out", "max").shape == ()


def test_kept_axes_follow_the_layers(run):
    assert run.stat("entropy", "entropy").shape == (2, N_HEAD, T)
    assert run.stat("entropy", "entropy", layer=5, prompt=1).shape == (N_HEAD, 3)
    assert run.stats.select("entropy")[0].axes == ("head", "query")


def test_a_statistic_is_of_the_activation(run, model):
    full = model.run(PROMPT, capture="resid_post", stats=probe("resid_post", "std", "mean", "max",
                     quantiles=[0.25]))  # fmt: skip
    values = full.capture("resid_post").astype(np.float64).reshape(N_LAYER, -1)
    np.testing.assert_allclose(full.stat("resid_post", "std"), values.std(axis=1, ddof=1))
    np.testing.assert_allclose(full.stat("resid_post", "mean"), values.mean(axis=1), atol=1e-12)
    np.testing.assert_array_equal(full.stat("resid_post", "max"), values.max(axis=1))
    np.testing.assert_allclose(
        full.stat("resid_post", 0.25), np.quantile(values, 0.25, axis=1), rtol=1e-5
    )


def test_a_histogram_counts_every_element(run):
    result = run.stats.select("resid_post[0]", layer=0)[0]
    histogram = result.histogram
    np.testing.assert_array_equal(histogram.edges, [-2, -1, 0, 1, 2])
    assert histogram.counts.shape == (4,)
    assert histogram.counts.sum() + histogram.below + histogram.above == T * D_MODEL


def test_statistics_as_a_table(run):
    table = run.stats.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    std = table[(table.probe == "resid_post[0]") & (table.statistic == "std")]
    std = std[(std.prompt == 0) & ~std.clean]
    np.testing.assert_array_equal(std.value, run.stat("resid_post[0]", "std"))
    entropy = table[(table.probe == "entropy") & (table.prompt == 0) & (table.layer == 5)]
    assert len(entropy) == 2 * N_HEAD * T and set(entropy.columns) >= {"head", "query", "when"}
    assert "q0.5" in set(table.statistic) and "count [1, 2]" in set(table.statistic)


def test_statistics_with_named_axes(run):
    array = run.stats.to_xarray("entropy", "entropy")
    assert isinstance(array, xarray.DataArray) and array.dims == ("layer", "head", "query")
    assert list(array.layer.values) == [3, 5]
    np.testing.assert_array_equal(array.values, run.stat("entropy", "entropy"))


# ---- tensors -------------------------------------------------------------------------------------


def test_a_capture_is_found_by_each_of_its_names(run):
    z = run.capture("blocks.5.attn.hook_z")
    assert z.shape == (T, N_HEAD, D_HEAD) and z.dtype == np.float32
    for name in ("z[1]", "z"):
        np.testing.assert_array_equal(run.capture(name), z)
    assert run.capture("pattern").shape == (N_LAYER, N_HEAD, T, T)
    assert run.capture("pattern", layer=5, prompt=1).shape == (N_HEAD, 3, 3)
    assert run.capture("whole").shape == (2, T, D_MODEL)
    uniform = 1 / np.arange(1, T + 1)
    np.testing.assert_allclose(run.capture("pattern", layer=5)[2, :, 0], uniform, rtol=1e-6)


def test_before_and_after(run):
    """What was captured before the scaling is ten times the hidden state after it."""
    np.testing.assert_allclose(
        run.capture("whole", layer=9) * np.float32(0.1), run.hidden_states()[10], rtol=1e-6
    )


def test_a_tensor_says_what_it_is(run):
    tensor = run.tensor("z")
    assert tensor.axes == ("position", "head", "unit") and tensor.shape == (T, N_HEAD, D_HEAD)
    assert (tensor.layer, tensor.prompts, tensor.clean, tensor.when) == (5, (0,), False, "after")
    assert tensor.dtype == "float32" and tensor.nbytes == tensor.numpy().nbytes
    np.testing.assert_array_equal(np.asarray(tensor), tensor.numpy())
    assert np.asarray(tensor, dtype=np.float64).dtype == np.float64
    assert tensor.to_xarray().dims == tensor.axes
    assert run.tensor("pattern", layer=0).axes == ("head", "query", "key")
    with pytest.raises(LookupError, match="say which"):
        run.tensor("pattern")


def test_arrays_are_the_callers_own(run):
    """Writable, and not copied at each look."""
    array = run.capture("z")
    assert array.flags.writeable and array.flags.c_contiguous
    assert np.shares_memory(array, run.capture("z"))


def test_half_precision(model):
    runs = {
        dtype: model.run(PROMPT, capture=capture("resid_post", layer=11, dtype=dtype))
        for dtype in ("float32", "float16", "bfloat16")
    }
    exact = runs["float32"].capture("resid_post")
    half = runs["float16"].capture("resid_post")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, exact.astype(np.float16))
    brain = runs["bfloat16"].capture("resid_post")
    assert brain.dtype == np.float32 and not (brain.view(np.uint32) & 0xFFFF).any()
    np.testing.assert_allclose(brain, exact, rtol=2**-8)


def test_hidden_states_and_block_outputs(run):
    states = run.hidden_states()
    assert len(states) == N_LAYER + 1 and {s.shape for s in states} == {(T, D_MODEL)}
    hidden, attentions = run.block_output(3)
    np.testing.assert_array_equal(hidden[0], states[4])
    np.testing.assert_array_equal(attentions[0], run.capture("pattern", layer=3))
    assert run.block_output(3, prompt=1)[0].shape == (1, 3, D_MODEL)
    assert not np.array_equal(run.hidden_states(clean=True)[10], states[10])


def test_prompts_of_equal_length_are_a_batch(model):
    run = model.run([PROMPT, "short", OTHER], block_outputs=True, output_hidden_states=True)
    batches = {block.prompts for block in run.block_outputs if block.layer == 0}
    assert batches == {(0, 2), (1,)}
    assert run.block_output(0)[0].shape == (2, T, D_MODEL)
    np.testing.assert_array_equal(run.block_output(0)[0][1], run.hidden_states(prompt=2)[1])


# ---- logits and reports --------------------------------------------------------------------------


def test_decoded_logits(run):
    top = run.top()
    assert len(top) == 3 and top == run.top(position=T - 1)
    assert [token.logit for token in top] == sorted((t.logit for t in top), reverse=True)
    assert run.top(clean=True)[0].token == " Mary" and run.top(clean=True)[0].prob > 0.9
    assert run.top(position=0, prompt=1) != top
    table = run.predictions_to_pandas()
    assert len(table) == 2 * 2 * 2 * 3 and table.iloc[0].token == run.predictions[0].tokens[0].token


def test_full_logits(model):
    run = model.run(PROMPT, logits=Logits.full(position=slice(None)))
    logits = run.logits().astype(np.float64)
    assert logits.shape == (T, model.info.config.vocab_size)
    top = model.run(PROMPT, logits=1).top()[0]
    assert logits[-1].argmax() == top.token_id and logits[-1].max() == pytest.approx(top.logit)
    log_prob = logits[-1].max() - np.log(np.exp(logits[-1]).sum())
    assert top.log_prob == pytest.approx(log_prob, abs=1e-5)


def test_logits_of_given_tokens(model):
    ids = [model.token_id(" John"), model.token_id(" Mary")]
    tokens = model.run(PROMPT, logits=Logits.of(ids)).top()
    assert [t.token_id for t in tokens] == ids and [t.token for t in tokens] == [" John", " Mary"]


def test_reports(run):
    first, second = run.reports
    assert second.name == "smaller" and second.elements_selected == (T + 3) * D_MODEL
    assert first.sites_touched == 2 and first.max_abs_change > 0
    assert list(run.reports_to_pandas().name) == [first.name, "smaller"]


@pytest.mark.parametrize("look, hint", [
    (lambda run: run.stat("nothing", "std"), "there is: 'resid_post"),
    (lambda run: run.stat("entropy", "std"), "it has .*entropy"),
    (lambda run: run.stat("entropy", "entropy", layer=4), "layer 4"),
    (lambda run: run.capture("resid_mid"), "there is: 'pattern"),
    (lambda run: run.capture("z", layer=6), "layer 6"),
    (lambda run: run.capture("z", prompt=2), "prompt 2"),
    (lambda run: run.logits(), "logits='full'"),
    (lambda run: run.top(position=5), "position 5"),
    (lambda run: run.block_output(4), "block 4"),
])  # fmt: skip
def test_what_is_not_there_is_a_lookup_error(run, look, hint):
    with pytest.raises(LookupError, match=hint):
        look(run)


def test_two_captures_of_one_site_need_their_names(model):
    run = model.run("a b", capture=[capture("z", layer=1), capture("z", layer=[1, 2])])
    assert run.capture("z", layer=2).shape == run.capture("z[0]").shape
    with pytest.raises(LookupError, match="more than one"):
        run.capture("z", layer=1)


def test_captures_of_one_site_are_put_together(model):
    run = model.run("a b", capture=["blocks.1.hook_resid_post", "blocks.7.hook_resid_post"])
    assert run.capture("resid_post").shape == (2, 2, D_MODEL)
    assert [run.tensor("resid_post", layer=i).layer for i in (1, 7)] == [1, 7]


# ---- sweeps --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(model):
    """A grid with two metrics with numbers, and one without, on two prompts."""
    return model.sweep(
        [PROMPT, OTHER],
        scale("z"),
        over=[scalpel.layers([0, 9]), "heads", scalpel.values([0, 1], name="factor")],
        metrics=[logit_diff([" Mary", " John"], [" John", " Mary"], name="diff"),
                 prob(" Mary", " John", name="probs"), top_k(2)],
        stats=probe("resid_post", "std", keep="position", layer=[10, 11]),
        reports=True,
    )  # fmt: skip


def test_a_sweep_is_an_array_with_axes(sweep):
    assert sweep.shape == (2, N_HEAD, 2) and sweep.metrics == ("diff", "probs", "top_k[2]")
    assert [axis.name for axis in sweep.axes] == ["layer", "head", "factor"]
    assert sweep.axes[0].values == (0, 9) and sweep.axes[2].values == (0.0, 1.0)
    diff = sweep["diff"]
    assert diff.shape == sweep.shape and sweep.array("probs", prompt=1).shape == (*sweep.shape, 2)
    np.testing.assert_array_equal(diff[:, :, 1], sweep.clean("diff"))
    assert (diff[:, :, 0] != sweep.clean("diff")).all()
    np.testing.assert_array_equal(sweep.array("probs")[0, 0, 1], sweep.clean("probs"))


def test_a_cell_is_a_run(sweep, model):
    for prompt in range(2):
        cell = sweep.array("diff", prompt=prompt)[1, 6, 0]
        run = model.run([PROMPT, OTHER], zero("z", layer=9, head=6), logits="full")
        ids = [model.token_id(" Mary"), model.token_id(" John")]
        mary, john = run.logits(prompt=prompt)[0, ids].astype(np.float64)
        assert cell == pytest.approx((mary - john) * (1 - 2 * prompt), rel=1e-4)


def test_a_sweep_with_named_axes(sweep):
    array = sweep.to_xarray("diff")
    assert array.dims == ("prompt", "layer", "head", "factor")
    np.testing.assert_array_equal(array.sel(prompt=1, layer=9), sweep.array("diff", prompt=1)[1])
    assert sweep.to_xarray("diff", prompt=0).dims == ("layer", "head", "factor")
    dataset = sweep.to_dataset()
    assert set(dataset) == {"diff", "probs"} and dataset.probs.dims[-1] == "token"


def test_positions_are_labelled_with_their_tokens(model):
    sweep = model.sweep(PROMPT, zero("resid_pre", layer=3), over="positions",
                        metrics=scalpel.kl_from_clean())  # fmt: skip
    array = sweep.to_xarray(prompt=0)
    assert list(array.position.values) == list(range(T))
    assert array.position_label.values[1] == '1 " Mary"'


def test_a_sweep_as_a_table(sweep):
    table = sweep.to_pandas()
    assert list(table.columns) == ["layer", "head", "factor", "metric", "prompt", "token", "value"]
    assert len(table) == 2 * N_HEAD * 2 * 2 * (1 + 2)
    one = table[(table.layer == 9) & (table["head"] == 6) & (table.factor == 0)]
    one = one[(one.metric == "diff") & (one.prompt == 0)]
    assert float(one.value.iloc[0]) == sweep["diff"][1, 6, 0]


def test_statistics_of_variants(sweep):
    std = sweep.stat("resid_post", "std")
    assert std.shape == (*sweep.shape, 2, T)
    clean = sweep.clean_stats.array("resid_post", "std", clean=True)
    np.testing.assert_array_equal(std[0, 0, 1], clean)
    variant = sweep.variant(1, 6, 0)
    np.testing.assert_array_equal(
        sweep.stats_of(variant).array("resid_post", "std", layer=11), std[1, 6, 0, 1]
    )
    assert variant.reports[0].elements_changed > 0 and len(variant.top(prompt=1)) == 2


def test_extremes_are_the_furthest_first(sweep):
    clean = sweep.clean("diff")
    found = sweep.extremes("diff", n=3, relative_to=clean)
    distances = np.sort(np.abs(sweep["diff"] - clean), axis=None)[::-1]
    np.testing.assert_array_equal([abs(value - clean) for _, value in found], distances[:3])
    assert set(found[0][0]) == {"layer", "head", "factor"}


def test_a_list_of_variants_has_one_axis(model):
    variants = {"clean": [], "off": zero("z", layer=9)}
    sweep = model.sweep(PROMPT, variants=variants, metrics=scalpel.kl_from_clean())
    assert sweep.shape == (2,) and sweep.axes[0].values == ("clean", "off")
    assert sweep.array()[0] == 0 < sweep.array()[1]
    assert float(sweep.to_xarray(prompt=0).sel(variant="off")) == sweep.array()[1]


def test_a_sweep_that_was_cut_short_keeps_what_came(model):
    call = calls.sweep(PROMPT, zero("z"), over="layers", metrics=scalpel.kl_from_clean())
    with model.stream_sweep(PROMPT, zero("z"), over="layers", metrics=scalpel.kl_from_clean()) as s:
        events = []
        while sum(isinstance(event, Variant) for event in events) < 3:
            events.append(next(s))
    sweep = call.collect(events)
    assert sweep.finished is None and "cut short after 3" in repr(sweep)
    assert np.isfinite(sweep.array()).sum() == 3


def test_a_failed_sweep_says_what_came(server):
    """By the exception, in both clients; a run has no such thing."""
    with scalpel.connect(server.address) as model:
        options = {"over": "layers", "metrics": scalpel.kl_from_clean()}
        request = calls.sweep(PROMPT, zero("z"), **options).request
        responses = list(model.start(calls.sweep_request(request), 20))
    failure = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "too late")
    kept = [r for r in responses if r.WhichOneof("event") in ("started", "clean", "variant")][:6]
    with FakeServer(server.address) as fake:
        fake.script["Sweep"] = [[*kept, failure], [*kept, failure], [failure]]
        fake.script["Run"] = [[failure]]
        with scalpel.connect(fake.address) as model:
            with pytest.raises(TimeoutError) as raised:
                model.sweep(PROMPT, zero("z"), **options)
            assert np.isfinite(raised.value.partial.array()).sum() == 4
            with pytest.raises(TimeoutError) as raised:
                with_model(fake.address, lambda m: m.sweep(PROMPT, zero("z"), **options))
            assert len(raised.value.partial.variants) == 4
            for call in (lambda: model.sweep(PROMPT, zero("z"), **options), lambda: model.run("a")):
                with pytest.raises(TimeoutError) as raised:
                    call()
                assert raised.value.partial is None


def test_what_a_sweep_has_not_is_a_lookup_error(sweep):
    for look, hint in (
        (lambda: sweep.array(), "there is: .*diff"),
        (lambda: sweep.array("loss"), "no metric 'loss'"),
        (lambda: sweep.array("top_k[2]"), "no numbers"),
        (lambda: sweep.clean("top_k[2]"), "no value"),
    ):
        with pytest.raises(LookupError, match=hint):
            look()
