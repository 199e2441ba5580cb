"""The study: its experiments are those of client/examples/requests, its numbers those of the
answers, and its sentences true of whatever model answers."""

import html
import itertools
import re

import numpy as np
import pytest

import scalpel
from scalpel import __main__ as command
from scalpel import study
from scalpel.report.parts import number
from scalpel.study import experiments, language, readings
from tests.fault import model_folders
from tests.support import environment
from tests.support.browser import Browser
from tests.support.server import Server

GOLDEN = environment.ROOT / "tests" / "parity" / "golden" / "models"
EXAMPLES = [
    "01-zero-k-head", "02-noise-neurons", "03-scale-block-down", "04-scale-block-up",
    "05b-block-output-tuple-attentions", "06-std-by-layer",
]  # fmt: skip
NUMBER = r"(−?\d[\d.,]*(?:e[+−]\d+)?)"


def value(written):
    return float(written.rstrip(".,").replace(",", "").replace("−", "-"))


def text(experiment):
    return " ".join(experiment.reading)


@pytest.fixture(scope="module")
def six(model):
    return study.six(model)


@pytest.fixture(scope="module")
def other_models(tmp_path_factory):
    """What models of other shapes say: two with 2 layers and 3 heads, one with one of each."""
    smallest = model_folders.write(
        tmp_path_factory.mktemp("models") / "smallest", config={"n_head": 1}
    )
    found = {}
    for folder in (GOLDEN / "tiny", GOLDEN / "tiny-flags", smallest):
        with Server(model=folder) as server, scalpel.connect(server.address) as model:
            found[folder.name] = (study.six(model), study.study_page(model))
    return found


def example_run(model, name):
    request = scalpel.load_request(environment.EXAMPLES / f"{name}.json")
    request.include_clean_run = bool(request.interventions)
    return model.run_request(request)


# ---- the experiments are those of the examples ---------------------------------------------------


@pytest.mark.parametrize("index, name", list(enumerate(EXAMPLES)))
def test_they_ask_what_the_examples_ask(six, model, index, name):
    mine, theirs = six[index].runs[-1], example_run(model, name)
    assert mine.prompts == theirs.prompts
    assert len(mine.normalized.interventions) == len(theirs.normalized.interventions)
    for one, other in zip(
        mine.normalized.interventions, theirs.normalized.interventions, strict=True
    ):
        assert one.place == other.place
        assert one.WhichOneof("operation") == other.WhichOneof("operation")
        kind = one.WhichOneof("operation")
        assert getattr(one, kind) == getattr(other, kind)
    for clean in {False, bool(theirs.reports)}:
        assert mine.top(clean=clean) == theirs.top(clean=clean)


def test_the_tuple_is_asked_in_both_ways(six, model):
    plain, full = six[4].runs
    name = "05-block-output-tuple"
    wanted = model.run_request(scalpel.load_request(environment.EXAMPLES / f"{name}.json"))
    assert plain.digest == wanted.digest
    assert full.digest == example_run(model, f"{name.replace('05', '05b')}-attentions").digest


# ---- the numbers are those of the answers --------------------------------------------------------


def percent(share):
    return f"{100 * share:.1f}%"


def test_the_head_without_keys(six, model):
    run = example_run(model, "01-zero-k-head")
    said = text(six[0])
    clean = run.capture("pattern", clean=True)[0]
    entropies = [run.stat("pattern", "entropy", clean=c)[2] for c in (True, False)]
    favourite = int(clean[-1].argmax())
    assert f"its weight, {percent(clean[-1, favourite])}, to position {favourite}, “" in said
    assert f"rises from {entropies[0]:.4g} to {entropies[1]:.4g} nats" in said
    assert "that of uniform attention" in said
    assert "other heads of the layer does not change" in said


def test_the_neurons_of_noise(six, model):
    run = example_run(model, "02-noise-neurons")
    said = text(six[1])
    assert "192 neurons of block 6" in said and "Before that block nothing changes." in said
    for name in ("mean", "std"):
        pair = (run.stat(f"neurons {when}", name) for when in ("before", "after"))
        assert "the {} rises from {} to {}".format(name, *(number(float(v)) for v in pair)) in said
    distance = run.stat("block output", "relative_l2")
    assert f"moves by {distance[6]:.4g} times" in said
    assert f"falls from {distance[6]:.4g} to {distance[11]:.4g}" in said


@pytest.mark.parametrize("index, name", [(2, EXAMPLES[2]), (3, EXAMPLES[3])])
def test_the_scaled_block(six, model, index, name):
    run = example_run(model, name)
    said = text(six[index])
    clean, edited = (run.stat("block output", "std", clean=c) for c in (True, False))
    verb = "falls" if index == 2 else "rises"
    assert f"the std of layer 9 {verb} from {clean[9]:.4g} to {edited[9]:.4g}" in said
    after = "recovers to" if index == 2 else "rises further, to"
    assert f"By layer 11 it {after} {edited[11]:.4g}." in said
    share = edited[11] / clean[11]
    shown = percent(share) + " of" if share < 2 else f"{share:.4g} times"
    assert f"at layer 11 {shown} the clean {clean[11]:.4g}" in said
    for statistic in ("abs_max", "mean_l2_norm"):
        a, b = (run.stat("block output", statistic, clean=c)[9] for c in (True, False))
        assert f"{verb} from {a:.4g} to {b:.4g}" in said


def test_the_tuple(six, model):
    run = example_run(model, EXAMPLES[4])
    _, attentions = run.block_output(9)
    said = text(six[4])
    assert "(1 × 14 × 96)" in said and "(1 × 12 × 14 × 14)" in said
    assert "the same to the last bit" in said
    assert (
        f"{percent(attentions[0, :, :, 0].mean())} of a query's weight goes to position 0" in said
    )
    head, key = np.unravel_index(attentions[0, :, -1].argmax(), (12, 14))
    best = f"head {head}: {percent(attentions[0, head, -1, key])} on position {key},"
    assert best in said


def test_the_std_by_layer(six, model):
    run = example_run(model, EXAMPLES[5])
    assert len(six[5].reading) == 2
    for prompt, said in enumerate(six[5].reading):
        clean, edited = (
            run.stat("block output", "std", prompt=prompt, clean=c) for c in (True, False)
        )
        assert said.startswith(f"Prompt {prompt}: ")
        assert f"lowest at layer {clean.argmin()}, {clean.min():.4g}, and" in said
        assert f"highest at layer {clean.argmax()}, {clean.max():.4g}." in said
        assert "no earlier layer changes" in said and np.array_equal(clean[:3], edited[:3])
        for layer in (3, 11):
            verb = "falls" if edited[layer] < clean[layer] else "rises"
            assert f"{verb} from {clean[layer]:.4g} to {edited[layer]:.4g}" in said
        far = np.abs(edited / clean - 1).argmax()
        assert f"It differs most at layer {far}, where it is " in said


def test_the_predictions(six, model):
    for experiment, name in zip(six, EXAMPLES, strict=True):
        run = example_run(model, name)
        if not run.reports:
            continue
        for prompt in range(len(run.prompts)):
            clean, edited = run.top(prompt=prompt, clean=True)[0], run.top(prompt=prompt)[0]
            stays = f"stays “{clean.token}”, at {percent(clean.prob)} clean and"
            stays += f" {percent(edited.prob)} edited."
            changes = f"changes from “{clean.token}” ({percent(clean.prob)}) to"
            changes += f" “{edited.token}” ({percent(edited.prob)})."
            assert (stays if clean.token_id == edited.token_id else changes) in text(experiment)


# ---- sentences are true of any model -------------------------------------------------------------


def movements(said):
    """What is said to rise and to fall, from and to."""
    found = re.findall(rf"(rises|falls) from {NUMBER} to {NUMBER}", said)
    return [(verb, value(a), value(b)) for verb, a, b in found]


def test_every_model_gets_sentences_that_are_true_of_it(six, other_models):
    told = {"demo": six, **{name: found for name, (found, _) in other_models.items()}}
    for name, found in told.items():
        for experiment in found:
            for verb, before, after in movements(text(experiment)):
                assert (after > before) == (verb == "rises"), (name, experiment.title)
    counted = {name: len(movements(" ".join(map(text, found)))) for name, found in told.items()}
    assert min(counted.values()) >= 10
    for one, other in itertools.combinations(told, 2):
        for mine, theirs in zip(told[one], told[other], strict=True):
            assert text(mine) != text(theirs), (one, other, mine.title)


def test_another_model_is_asked_and_quoted_at_its_own_places(other_models):
    for name, depth, layer in (("tiny", 2, 1), ("tiny-flags", 2, 1), ("smallest", 1, 0)):
        found, page = other_models[name]
        run = found[2].runs[0]
        clean, edited = (run.stat("resid_post", "std", layer=layer, clean=c) for c in (True, False))
        said = text(found[2])
        assert f"the std of layer {layer} falls from {clean:.4g} to {edited:.4g}" in said
        assert "It is the last block" in said and layer == depth - 1
        assert re.search(r"stays token \d+, at|changes from token \d+ \(", said)
        assert html.escape(said.split(". ")[0]) in page


def test_one_head_and_one_layer_leave_out_what_is_not_there(other_models):
    found, _ = other_models["smallest"]
    said = " ".join(map(text, found))
    assert "Before that block" not in said and "earlier layer" not in said
    assert "other heads" not in said
    assert "From there to layer" not in said and "and that of layer" not in said


# ---- phrases -------------------------------------------------------------------------------------


def test_change_is_said_to_the_digits_that_are_shown():
    assert language.change(1.0, 2.0) == "rises from 1 to 2"
    assert language.change(2.0, -1.0) == "falls from 2 to −1"
    assert language.change(1.00001, 1.00002) == "stays at 1"
    assert language.ratio(1.0, 2.0) == "50.0% of" and language.ratio(6.0, 2.0) == "3 times"
    assert language.ratio(1.0, 0.0) == "1 against"
    assert language.percent(0.0001) == "less than 0.1%" and language.percent(0) == "0.0%"
    assert language.at_most(0.0, "none", "{} at most") == "none"
    assert language.at_most(0.5, "none", "{} at most") == "0.5 at most"
    assert language.listed(["a"]) == "a" and language.listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    "clean, edited, verb, approach",
    [
        ((5, 8), (0.5, 4), "recovers to 4", "comes closer again"),
        ((5, 8), (0.5, 8), "recovers to 8", "comes all the way back"),
        ((5, 8), (0.5, 10), "recovers to 10", "goes past the clean one"),
        ((5, 8), (0.5, 0.7), "recovers to 0.7", "moves further away"),
        ((5, 8), (0.5, 0.4), "falls further, to 0.4", "moves further away"),
        ((5, 8), (50, 60), "rises further, to 60", "comes closer again"),
        ((5, 8), (50, 20), "falls back to 20", "comes closer again"),
        ((5, 8), (50, 50), "stays at 50", "comes closer again"),
        ((5, 8), (50, 4), "falls back to 4", "goes past the clean one"),
    ],
)
def test_what_becomes_of_a_scaled_block(clean, edited, verb, approach):
    arrays = np.array([1.0, *clean]), np.array([1.0, *edited])
    said = readings._afterwards(*arrays, layer=1)
    assert f"By layer 2 it {verb}." in said
    assert f"In proportion to the clean run it {approach}: " in said


def test_places_follow_the_depth(model):
    def at(**config):
        info = scalpel.ModelInfo(type(model.info.proto)())
        info.proto.CopyFrom(model.info.proto)
        for name, number_ in config.items():
            setattr(info.proto.config, name, number_)
        found = experiments.setting(info)
        return found.head_layer, found.head, found.noise_layer, found.scale_layer, found.mlp_layer

    assert at() == at(n_layer=24) == (5, 2, 6, 9, 3)
    assert at(n_layer=6) == (2, 2, 3, 4, 1)
    assert at(n_layer=1, n_head=1) == (0, 0, 0, 0, 0)


# ---- the page ------------------------------------------------------------------------------------


def test_the_page_opens_with_every_paragraph(server, six, tmp_path, capsys):
    out = tmp_path / "study.html"
    assert command.main(["study", "--server", server.address, "-o", str(out)]) == 0
    assert "study.html" in capsys.readouterr().out
    page = out.read_text("utf-8")
    for experiment in six:
        for paragraph in experiment.reading:
            assert f"<p>{html.escape(paragraph)}</p>" in page
    with Browser() as browser:
        for width in (1100, 390):
            browser.open(out, width)
            assert browser.problems == [] and browser.requests == [out.as_uri()]
            assert browser.evaluate("document.querySelectorAll('figure svg[role=img]').length") == 7
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.querySelectorAll('nav a').length") == 8
        broken = "[...document.querySelectorAll('nav a')].filter(a => !document.getElementById("
        assert browser.evaluate(broken + "a.hash.slice(1))).length") == 0


def test_after_each_figure_there_is_a_paragraph(six):
    for experiment in six:
        is_text = [isinstance(part, str) for part in experiment.story]
        for one, following in itertools.pairwise(is_text):
            assert one or following
        assert is_text[-1]
