"""What is not a number stays none: in arrays, tables, pictures and pages; and where it began is
said."""

import math

import numpy as np
import pytest

import scalpel
import scalpel.report
from scalpel import (
    Logits,
    chunks,
    events,
    labels,
    logit_diff,
    plots,
    prob,
    scale,
    set_,
    svg,
    token_text,
    values,
)
from scalpel.report.run_report import _largest
from scalpel.v1 import output_pb2, sweep_pb2
from tests.python.fake_server import FakeServer
from tests.python.raw import PROMPT

NAN = float("nan")


def broken(model, **options):
    """A run whose residual stream is NaN from layer 9, position 5 on."""
    options = {"interventions": set_("resid_post", NAN, layer=9, position=5), **options}
    return model.run(PROMPT, allow_non_finite=True, **options)


@pytest.fixture(scope="module")
def run(model):
    return broken(model, stats={"resid_post": "std"}, clean=True)


@pytest.fixture(scope="module")
def sweep(model):
    """Factors by layers: one of the factors is NaN."""
    return model.sweep(
        PROMPT, scale("resid_post"), over=[scalpel.layers([3, 8]), values([1, NAN, 2])],
        metrics=[logit_diff(" Mary", " John", name="diff")], allow_non_finite=True,
    )  # fmt: skip


# ---- where it began ------------------------------------------------------------------------------


def test_a_run_says_where_it_began(run, model):
    first = run.first_non_finite
    assert (first.site, first.layer, first.position, first.prompt) == ("resid_post", 9, 5, 0)
    assert first.by_intervention and not first.clean and first.head is None
    said = "resid_post, layer 9, prompt 0, position 5, made by an intervention"
    assert str(first) == said
    assert f"not finite: {said}" in repr(run)
    assert f"<b>not finite</b>: {said}" in run._repr_html_()
    assert said in scalpel.report.run_report(run, model.info, "page").partition("<section")[0]


def test_a_run_of_numbers_says_nothing(model):
    run = model.run(PROMPT)
    assert run.first_non_finite is None and "finite" not in repr(run) + run._repr_html_()
    page = scalpel.report.run_report(run, model.info, "page").partition("<section")[0]
    assert "not finite" not in page


def test_a_sweep_says_which_variant_began(sweep, model):
    assert sweep.finished.non_finite_variants == 2
    assert sweep.finished.first_non_finite_variant == 1
    assert sweep.first_non_finite.layer == 3
    said = "2 variants; the first is layer 3, value nan, at resid_post, layer 3, prompt 0"
    assert said in sweep.non_finite_text() and said in repr(sweep)
    assert said in sweep._repr_html_()
    assert said in scalpel.report.sweep_report(sweep, model.info, "page").partition("<section")[0]


def test_of_a_spread_sweep_the_first_is_that_of_the_whole(server, sweep):
    with scalpel.spread.connect([server.address] * 2, chunk=1) as replicas:
        whole = replicas.sweep_request(sweep.request)
    assert whole.finished.non_finite_variants == 2
    assert whole.finished.first_non_finite_variant == 1
    assert whole.first_non_finite == sweep.first_non_finite


def test_chunks_are_joined_in_their_order():
    """Whichever came first."""
    first = events.FirstNonFinite("z", 1, 2, 0, 3, False, True)
    none = events.Finished(0.0, 1.0, 1)
    ends = [
        (0, none),
        (4, events.Finished(0.0, 1.0, 1, 0, first, 1, 2)),
        (8, events.Finished(0.0, 1.0, 1, 0, None, 3, 0)),
    ]
    pairs = [(chunks.Chunk(at, 4, sweep_pb2.SweepRequest()), end) for at, end in ends]
    made = chunks._end(pairs)
    assert (made.non_finite_variants, made.first_non_finite_variant) == (4, 6)
    assert made.first_non_finite is first


# ---- numbers -------------------------------------------------------------------------------------


def test_nan_comes_back_as_nan(run, model):
    std = run.stat("resid_post", "std")
    assert np.isfinite(std[:9]).all() and np.isnan(std[9:]).all()
    top = run.top()
    assert len(top) == 10 and all(math.isnan(one.prob) and one.token_id == -1 for one in top)
    assert {one.shown for one in top} == {"NaN"}
    table = run.predictions_to_pandas()
    edited = table[~table.clean]
    assert edited.prob.isna().all() and set(edited.token) == {"NaN"}
    full = broken(model, logits=Logits.full())
    assert np.isnan(full.logits()).any()


def test_an_infinite_dose_is_no_place_on_a_scale(model):
    """A page and a plot of it can be made; the page's axis then names its values."""
    sweep = model.sweep(PROMPT, scale("resid_post", layer=9), over=values([1, math.inf]),
                        metrics=prob(" Mary"), allow_non_finite=True)  # fmt: skip
    page = scalpel.report.sweep_report(sweep, model.info, "page")
    assert '"labels":["1","inf"],"numbers":null' in page
    assert plots.dose_response(sweep).get_xscale() == "log"


def test_variants_without_a_number_are_neither_best_nor_worst(sweep):
    array = sweep.array()
    assert np.isnan(array[:, 1]).all() and np.isfinite(array[:, [0, 2]]).all()
    found = sweep.extremes(n=6, relative_to=sweep.clean())
    assert len(found) == 4 and all(math.isfinite(value) for _, value in found)
    distances = [abs(value - sweep.clean()) for _, value in found]
    assert distances == sorted(distances, reverse=True)
    assert sweep.extremes(relative_to=NAN) == []
    table = sweep.to_pandas()
    assert table.value.isna().sum() == 2
    assert np.isnan(sweep.to_xarray(prompt=0).values[:, 1]).all()


def test_the_mean_over_pairs_is_nan_where_one_is(model):
    """Two prompts that do not differ have no score."""
    result = model.patch([PROMPT, PROMPT], [PROMPT, PROMPT], answer=" Mary", wrong=" John",
                         over="layers", position=-1)  # fmt: skip
    assert np.isnan(result.score).all()


def test_the_largest_logits_of_what_is_no_number_are_none():
    (only,) = _largest(np.array([1.0, NAN, 3.0], np.float32), None)
    assert only.token_id == -1 and math.isnan(only.logit) and math.isnan(only.prob)
    assert [one.token_id for one in _largest(np.array([1.0, 3.0], np.float32), None)] == [1, 0]


# ---- pictures ------------------------------------------------------------------------------------


def test_cells_without_a_number_are_grey(sweep):
    assert sweep._repr_html_().count("#999999") == 2
    import matplotlib

    matplotlib.use("Agg")
    image = plots.heat_map(sweep).images[0]
    shown = image.get_array()
    assert np.array_equal(np.ma.getmaskarray(shown), np.isnan(sweep.array()))
    clean = sweep.clean()
    assert image.norm.halfrange == np.nanmax(np.abs(sweep.array() - clean))


def test_a_clean_run_without_a_number_is_no_centre():
    matrix = np.array([[NAN, 1.0], [2.0, 4.0]])
    norm = plots.style.diverging(matrix, NAN)
    assert (norm.vcenter, norm.halfrange) == (2.5, 1.5)
    assert plots.style.diverging(np.array([[NAN]]), NAN).vcenter == 0


def test_a_line_has_a_gap_where_there_is_no_number():
    drawn = svg.lines({"x": np.array([1.0, 2.0, NAN, 3.0, NAN, 2.0, 1.0])}, list("abcdefg"))
    points = [part.split('"')[0].split() for part in drawn.split('points="')[1:]]
    assert [len(piece) for piece in points] == [2, 2, 2]
    assert points[1][0] == points[1][1]  # One alone is a dot.


def test_a_page_of_nan_is_a_page(run, sweep, model):
    page = scalpel.report.run_report(run, model.info, "run")
    assert "nan%" not in page and "nanpx" not in page and "width:nan" not in page
    assert "NaN" in page
    assert "nanpx" not in run._repr_html_() and "nan%" not in run._repr_html_()
    assert ">NaN</td>" in scalpel.report.sweep_report(sweep, model.info, "sweep")
    full = broken(model, logits=Logits.full())
    assert "NaN" in scalpel.report.run_report(full, model.info, "full", model.detokenize)


# ---- ids without text ----------------------------------------------------------------------------


@pytest.fixture
def beyond(server):
    """A server whose tokenizer does not have two of the ids."""
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        responses = list(model.start(scalpel.calls.run(PROMPT), 20))
        started = responses[0].started.prompts[0]
        started.ids[1], started.tokens[1] = 2050, "[2050]"
        token = next(r.logits for r in responses if r.HasField("logits")).positions[0].tokens[0]
        token.CopyFrom(output_pb2.TokenLogit(token_id=2051, token="[2051]", logit=9, log_prob=-0.1))
        fake.script["Run"] = [responses]
        yield model.run(PROMPT), model


def test_an_id_that_the_tokenizer_has_not_is_shown_as_an_id(beyond):
    run, model = beyond
    assert run.prompts[0].tokens[1] == "<2050>" and run.top()[0].token == "<2051>"
    assert run.top()[0].shown == "<2051>" and run.predictions_to_pandas().token[0] == "<2051>"
    shown = run._repr_html_()
    for text in ("&lt;2050&gt;", "<code>&lt;2051&gt;</code>"):
        assert text in shown
    assert "[205" not in shown and "&#x27;&lt;" not in shown  # No text in quotes.
    assert labels.token_labels(run.prompts[0])[:2] == ('0 "When"', "1 <2050>")
    page = scalpel.report.run_report(run, model.info, "page").partition("<script")[0]
    assert "&lt;2050&gt;" in page and "&lt;2051&gt;" in page and "[205" not in page


def test_an_axis_names_such_an_id_too():
    assert token_text.relabelled('3 "[2050]"', [1, 2, 3, 2050]) == "3 <2050>"
    for label in ('3 "[2050]"', '3 " Mary"', "11"):  # A text that reads so, and other labels.
        assert token_text.relabelled(label, [1, 2, 3, 4]) == label


def test_a_model_without_a_tokenizer_shows_ids():
    tokens = events.Tokens((5, 6), ())
    assert labels.token_labels(tokens) == ("0 <5>", "1 <6>")
    assert events.TokenLogit(5, "", 1.0, -1.0).shown == "<5>"


def test_full_logits_of_an_id_that_cannot_be_decoded_are_a_page(model):
    def decode(ids):
        return model.detokenize([10**6])

    run = model.run(PROMPT, logits="full")
    largest = f"&lt;{int(run.logits()[-1].argmax())}&gt;"
    assert largest in scalpel.report.run_report(run, model.info, "page", decode)
