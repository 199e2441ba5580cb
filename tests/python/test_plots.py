"""Plots, by the data that they draw; and the logit lens, against the weights themselves."""

import io
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot
from safetensors.numpy import load_file

from scalpel import (
    capture,
    heads,
    kl_from_clean,
    labels,
    layers,
    logit_diff,
    plots,
    prob,
    probe,
    scale,
    study,
    values,
    zero,
)
from scalpel.v1 import sweep_pb2
from tests.python.raw import OTHER, PROMPT

DOSES = [0, 0.01, 1, 100]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def run(model):
    return model.run(
        PROMPT,
        scale("resid_post", 0.1, layer=9),
        stats=[
            probe("resid_post", "std", quantiles=[0.9]),
            probe("pattern", "entropy", keep="head", name="by head"),
            probe("ln_f_out", "std", name="once"),
        ],
        capture=[
            capture("pattern", name="pattern"),
            capture("pattern", layer=10, head=[3, 7], query=[-1, 2], name="part"),
            capture("z", layer=0, name="z"),
        ],
        clean=True,
    )


@pytest.fixture(scope="module")
def by_head(model):
    metrics = [logit_diff(" Mary", " John", name="Mary over John"), kl_from_clean()]
    return model.sweep(PROMPT, zero("z"), over=[layers(), heads()], metrics=metrics)


@pytest.fixture(scope="module")
def patched(model):
    pairs = ([PROMPT, OTHER], [OTHER, PROMPT])
    return model.patch(*pairs, answer=[" Mary", " John"], wrong=[" John", " Mary"])


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def drawn(ax):
    """The matrix that an image shows."""
    (image,) = ax.images
    return image, np.asarray(image.get_array())


def colour_bar(ax):
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    return bar


# ---- statistics by layer -------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["std", 0.9])
def test_both_runs_are_lines_over_layers(run, statistic):
    ax = plots.stat_by_layer(run, "resid_post", statistic)
    assert [line.get_label() for line in ax.lines] == ["clean", "edited"]
    for line, clean in zip(ax.lines, (True, False), strict=True):
        assert list(line.get_xdata()) == list(range(12))
        assert np.array_equal(line.get_ydata(), run.stat("resid_post", statistic, clean=clean))
    name = {"std": "std of resid_post", 0.9: "0.9-quantile of resid_post"}[statistic]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer", name)
    assert "prompt 0" in ax.get_title() and ax.get_legend() is not None


def test_it_draws_where_it_is_told(run):
    _, (left, right) = pyplot.subplots(1, 2)
    assert plots.stat_by_layer(run, "resid_post", ax=right) is right
    assert len(right.lines) == 2 and len(left.lines) == 0


def test_a_run_without_a_clean_one_is_one_line(model):
    alone = model.run(PROMPT, stats={"resid_post": "std"})
    (line,) = plots.stat_by_layer(alone, "resid_post").lines
    assert np.array_equal(line.get_ydata(), alone.stat("resid_post", "std"))


def test_what_is_not_one_number_a_layer_is_refused(run):
    with pytest.raises(ValueError, match="keeps head"):
        plots.stat_by_layer(run, "by head", "entropy")
    with pytest.raises(ValueError, match="no layers"):
        plots.stat_by_layer(run, "once")


# ---- sweeps --------------------------------------------------------------------------------------


def test_a_map_is_centred_at_the_clean_value(by_head):
    ax = plots.heat_map(by_head, "Mary over John")
    image, matrix = drawn(ax)
    array, clean = by_head["Mary over John"], by_head.clean("Mary over John")
    assert np.array_equal(matrix, array)
    assert image.norm.vcenter == clean
    assert image.norm.halfrange == np.abs(array - clean).max()
    assert image.get_cmap().name == "RdBu_r"
    assert tick_labels(ax.yaxis) == tick_labels(ax.xaxis) == [str(i) for i in range(12)]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("layer", "head")
    assert colour_bar(ax).get_ylabel() == "Mary over John (logit difference)"
    assert f"{clean:.4g}" in ax.get_title()


def test_a_divergence_has_no_centre(by_head):
    image, matrix = drawn(plots.heat_map(by_head, "kl_from_clean[1]"))
    assert np.array_equal(matrix, by_head["kl_from_clean[1]"])
    assert image.get_cmap().name == "cividis" and not hasattr(image.norm, "vcenter")


def test_patches_show_the_mean_over_pairs_and_tokens(patched):
    ax = plots.heat_map(patched)
    image, matrix = drawn(ax)
    assert np.allclose(matrix, patched.score, rtol=1e-12) and image.norm.vcenter == 0
    assert "mean over 2 pairs" in ax.get_title()
    assert colour_bar(ax).get_ylabel() == "patching score"
    one = drawn(plots.heat_map(patched, prompt=1))[1]
    assert np.array_equal(one, patched.scores[1])


def test_positions_are_named_by_tokens_where_there_is_one_prompt(model):
    one = model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John", direction="noising")
    ax = plots.heat_map(one)
    assert tick_labels(ax.xaxis)[:4] == ['0 "When"', '1 " Mary"', '2 " and"', '3 " John"']
    assert drawn(ax)[0].norm.vcenter == 1  # Where a noising patch changes nothing.


def test_cells_without_a_number_are_grey(model):
    """A prompt and a source that do not differ have no score."""
    same = model.patch(PROMPT, PROMPT, answer=" Mary", wrong=" John", over="layers")
    both = model.patch(PROMPT, PROMPT, answer=" Mary", wrong=" John")
    assert not np.isfinite(both.score).any()
    image, matrix = drawn(plots.heat_map(both))
    assert np.ma.getmaskarray(image.get_array()).all() and matrix.shape == both.shape
    with pytest.raises(ValueError, match="two axes"):
        plots.heat_map(same)


def test_a_metric_must_be_said_and_known(by_head):
    with pytest.raises(LookupError, match="say which"):
        plots.heat_map(by_head)
    with pytest.raises(LookupError, match="no metric 'loss'"):
        plots.heat_map(by_head, "loss")


def test_doses_are_a_line_and_the_clean_value_another(model):
    asked = dict(over=values(DOSES, name="factor"), metrics=prob(" Mary", name="Mary"))
    sweep = model.sweep(PROMPT, scale("resid_post", layer=9), **asked)
    ax = plots.dose_response(sweep)
    line, clean = ax.lines
    assert np.array_equal(line.get_xdata(), DOSES)
    assert np.array_equal(line.get_ydata(), sweep["Mary"])
    assert set(clean.get_ydata()) == {sweep.clean("Mary")} and clean.get_label() == "clean"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("factor", "Mary (probability)")
    assert ax.get_xscale() == "symlog"


def test_several_tokens_are_several_lines(model):
    asked = dict(over=values([2, 1]), metrics=prob(" Mary", " John"))
    sweep = model.sweep(PROMPT, scale("resid_post", layer=9), **asked)
    ax = plots.dose_response(sweep)
    assert [line.get_label() for line in ax.lines] == ['" Mary"', '" John"']
    for i, line in enumerate(ax.lines):
        assert list(line.get_xdata()) == [1, 2]  # By dose, however they were asked.
        assert np.array_equal(line.get_ydata(), sweep.array()[::-1, i])
    assert ax.get_xscale() == "linear"


def test_a_second_axis_gives_a_line_each(model):
    asked = dict(over=[layers([3, 8]), values([1, 100])], metrics=prob(" Mary"))
    sweep = model.sweep(PROMPT, scale("resid_post"), **asked)
    ax = plots.dose_response(sweep)
    assert [line.get_label() for line in ax.lines] == ["layer 3", "layer 8", "clean"]
    for i in range(2):
        assert np.array_equal(ax.lines[i].get_ydata(), sweep.array()[i])
    assert ax.get_xscale() == "log"


def test_a_sweep_without_doses_is_refused(by_head):
    with pytest.raises(ValueError, match="no axis of this sweep is of values"):
        plots.dose_response(by_head, "Mary over John")


# ---- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_attention_of_a_head(run, clean):
    ax = plots.attention(run, layer=10, head=4, clean=clean)
    image, weights = drawn(ax)
    assert np.array_equal(weights, run.capture("pattern", layer=10, clean=clean)[4])
    assert image.get_clim() == (0, 1)
    tokens = [f'{i} "{token}"' for i, token in enumerate(run.prompts[0].tokens)]
    assert tick_labels(ax.yaxis) == tick_labels(ax.xaxis) == tokens
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("query position", "key position")
    assert "head 4, layer 10" in ax.get_title()
    assert ("clean" if clean else "edited") in ax.get_title()


def test_a_part_of_a_pattern_keeps_its_names(run):
    ax = plots.attention(run, "part", head=7)
    assert np.array_equal(drawn(ax)[1], run.capture("pattern", layer=10)[7, [13, 2]])
    assert tick_labels(ax.yaxis) == ['13 " to"', '2 " and"']  # In the order asked.
    with pytest.raises(LookupError, match="has no head 5; it has 3, 7"):
        plots.attention(run, "part", head=5)
    with pytest.raises(LookupError, match="say which"):
        plots.attention(run, "part")
    with pytest.raises(ValueError, match="capture of z"):
        plots.attention(run, "z")


# ---- logit lens ----------------------------------------------------------------------------------


def decoded(hidden, model_dir, epsilon):
    """The final LayerNorm and the head, in double precision."""
    weights = load_file(model_dir / "model.safetensors")
    weights = {k.removeprefix("transformer."): v.astype(np.float64) for k, v in weights.items()}
    hidden = hidden.astype(np.float64)
    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    normed = scaled * weights["ln_f.weight"] + weights["ln_f.bias"]
    return normed @ weights.get("lm_head.weight", weights["wte.weight"]).T


@pytest.fixture(scope="module")
def lens(model):
    return study.logit_lens(model, PROMPT, k=4)


def test_the_lens_is_what_the_weights_say(model, lens, model_dir):
    run = model.run(PROMPT, capture=["resid_pre", "resid_post"], logits="none")
    streams = [run.capture("resid_pre", layer=0), *run.capture("resid_post")]
    assert lens.layers == ("embed", *map(str, range(12))) and lens.positions == tuple(range(14))
    epsilon = model.info.config.layer_norm_epsilon
    for row, hidden in zip(lens.top, streams, strict=True):
        logits = decoded(hidden, model_dir, epsilon)
        for position, cell in enumerate(row):
            wanted = np.sort(logits[position])[::-1][:4]
            assert np.allclose([token.logit for token in cell], wanted, rtol=0, atol=2e-4)
            for token in cell:
                own = logits[position, token.token_id]
                assert token.logit == pytest.approx(own, abs=2e-4)


def test_the_last_layer_is_the_models_own_answer(model, lens):
    run = model.run(PROMPT, logits=4)
    assert lens.top[-1][-1] == run.top()
    assert (lens.kl[-1] == 0).all() and (lens.kl[:-1] > 0).all()


def test_a_long_prompt_is_read_at_its_end(model):
    most = model.info.limits.max_metrics // 2
    lens = study.logit_lens(model, " to" * (most + 5), k=1)
    assert lens.positions == tuple(range(5, most + 5))
    assert lens.kl.shape == (13, most)
    some = study.logit_lens(model, lens.prompt.ids, k=1, positions=[7, 5])
    assert [row[0] for row in some.top] == [row[2] for row in lens.top]


def test_the_table_says_token_and_probability(lens):
    ax = plots.lens_table(lens)
    shares = [[cell[0].prob for cell in row] for row in lens.top[::-1]]
    assert np.array_equal(drawn(ax)[1], shares)
    texts = [text.get_text() for text in ax.texts]
    assert texts == [cell[0].token for row in lens.top[::-1] for cell in row]
    assert tick_labels(ax.yaxis) == [*map(str, range(11, -1, -1)), "embed"]
    assert tick_labels(ax.xaxis)[1] == '1 " Mary"'


# ---- all of them ---------------------------------------------------------------------------------


def test_names_are_never_read_as_mathematics(model):
    name = r"$\frac{1}{$"
    run = model.run("A $x^$ b", stats=probe("resid_post", "std", name=name), capture="pattern")
    for ax in (plots.stat_by_layer(run, name), plots.attention(run, layer=0, head=0)):
        ax.figure.savefig(io.BytesIO(), format="png")


def test_every_metric_of_numbers_has_its_unit():
    kinds = {kind.name for kind in sweep_pb2.Metric.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert set(labels.METRIC_UNITS) == kinds - {"top_k"}


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, scalpel.plots, scalpel.study, scalpel.report\n"
    code += "print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
