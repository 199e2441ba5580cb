"""Reports: what is on the page, and how it behaves in a browser without network."""

import base64
import hashlib
import html
import json
import pathlib
import re

import numpy as np
import pytest

import scalpel
import scalpel.report
from scalpel import __main__ as command
from scalpel import kl_from_clean, layers, logit_diff, positions, prob, probe, scale, values, zero
from scalpel.commands.report import page_of
from scalpel.report import cube
from scalpel.report.figures import Dimension, Figure
from scalpel.report.parts import number
from tests.python.raw import PROMPT
from tests.support import environment
from tests.support.browser import Browser

EXAMPLES = [*environment.examples(), *environment.examples("sweep")]
FIGURE = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
VENDOR = pathlib.Path(scalpel.report.__file__).parent / "vendor"
# An address that a browser would load, in any attribute or style.
LOADS = re.compile(r"""(?:src|srcset|href|poster)\s*=\s*(?!["']?(?:#|data:))|@import|url\(""")


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(model, tmp_path_factory):
    """A page for each example, written once."""
    folder = tmp_path_factory.mktemp("pages")
    for path in EXAMPLES:
        page = page_of(model, scalpel.load_request(path), path.stem)
        (folder / f"{path.stem}.html").write_text(page, "utf-8")
    return folder


def figures(page):
    return [json.loads(found) for found in FIGURE.findall(page)]


def show(browser, folder, page):
    path = folder / "page.html"
    path.write_text(page, "utf-8")
    browser.open(path)
    return path


# ---- every example -------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [path.stem for path in EXAMPLES])
def test_a_page_opens_without_network(browser, pages, example):
    path = pages / f"{example}.html"
    page = path.read_text("utf-8")
    for width in (1100, 390):
        browser.open(path, width)
        assert browser.problems == [] and browser.requests == [path.as_uri()]
        assert browser.evaluate("document.title") == example
        drawn = browser.evaluate("document.querySelectorAll('figure.plot svg[role=img]').length")
        assert drawn == len(figures(page))
        # What is wider than the page scrolls by itself.
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert LOADS.findall(markup) == []


def test_the_examples_have_figures(pages):
    """Those with statistics, captures, tuples or metrics; of the others a table says enough."""
    without = {e.stem for e in EXAMPLES if not figures((pages / f"{e.stem}.html").read_text())}
    assert without == {
        "07-activation-patching", "07c-path-patching", "10-mean-ablation", "14-set-neuron",
        "18-validate-only",
    }  # fmt: skip


def test_the_page_has_request_digest_and_tables(model, pages):
    request = scalpel.load_request(environment.EXAMPLES / "03-scale-block-down.json")
    run = model.run_request(request)
    page = (pages / "03-scale-block-down.html").read_text("utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<script>")[0]))
    assert run.digest[:16] in text and "scale(factor=0.1)" in text
    assert '"name": "scale block 9"' in text
    for layer in range(12):
        cells = [number(float(layer))]
        for name in ("std", "abs_max", "mean_l2_norm"):
            for clean in (False, True):
                cells.append(number(float(run.stat("resid_post", name, layer=layer, clean=clean))))
        assert "  ".join(cells) in re.sub(r"\s*  \s*", "  ", text), layer


def test_a_figure_holds_the_answers_numbers(model, pages):
    run = model.run_request(scalpel.load_request(environment.EXAMPLES / "06-std-by-layer.json"))
    (figure,) = figures((pages / "06-std-by-layer.html").read_text("utf-8"))
    shown = np.array(figure["values"]).reshape(2, 2, 12)  # [prompt, run, layer]
    for prompt in range(2):
        for i, clean in enumerate((True, False)):
            own = run.stat("resid_post", "std", prompt=prompt, clean=clean)
            assert np.allclose(shown[prompt, i], own, rtol=1e-5)
    assert figure["rows"]["labels"] == ["clean", "edited"]
    assert figure["labels"] == ["std of resid_post"]


def test_a_sweeps_map_is_centred_at_the_clean_value(model, pages):
    sweep = model.sweep_request(scalpel.load_request(environment.EXAMPLES / "19-sweep-heads.json"))
    shown, divergence = figures((pages / "19-sweep-heads.html").read_text("utf-8"))
    assert np.allclose(shown["values"], sweep["Mary over John"].ravel(), rtol=1e-5)
    assert shown["centres"] == [pytest.approx(sweep.clean("Mary over John"), rel=1e-5)]
    assert divergence["centres"] == [None]


# ---- in the browser ------------------------------------------------------------------------------


def tip(browser, figure=0):
    """What the box at the mouse says."""
    return browser.evaluate(
        f"document.querySelectorAll('figure.plot')[{figure}]"
        ".querySelector('g[aria-label=tip]').textContent"
    )


def test_lines_answer_the_mouse_and_the_buttons(browser, pages, model):
    browser.open(pages / "03-scale-block-down.html")
    dots = "document.querySelectorAll('g[aria-label=dot] circle')"
    assert browser.evaluate(f"{dots}.length") == 24
    browser.move_to(f"[...{dots}].at(-1)")
    run = model.run_request(scalpel.load_request(environment.EXAMPLES / "03-scale-block-down.json"))
    for clean in (True, False):
        assert f"{run.stat('resid_post', 'std', clean=clean)[11]:.4g}" in tip(browser)
    browser.evaluate("document.querySelector('.controls button').click()")
    assert browser.evaluate(f"{dots}.length") == 12
    assert browser.evaluate("document.querySelector('button').ariaPressed") == "false"
    browser.evaluate("document.querySelector('.controls button').click()")
    assert browser.evaluate(f"{dots}.length") == 24
    assert browser.problems == []


def test_a_choice_shows_another_matrix(browser, pages):
    browser.open(pages / "03-scale-block-down.html")
    label = "document.querySelector('.drawing svg').ariaLabel"
    assert browser.evaluate(label).endswith("std of resid_post")
    browser.evaluate(
        "(() => { const s = document.querySelector('select'); s.value = 1;"
        "s.dispatchEvent(new Event('change')) })()"
    )
    assert browser.evaluate(label).endswith("largest absolute value of resid_post")


def test_a_map_answers_the_mouse(browser, pages, model):
    browser.open(pages / "20-sweep-patch-positions.html")
    cells = "document.querySelectorAll('g[aria-label=cell] rect')"
    assert browser.evaluate(f"{cells}.length") == 12 * 14
    browser.move_to(f"{cells}[{3 * 14 + 9}]")
    request = scalpel.load_request(environment.EXAMPLES / "20-sweep-patch-positions.json")
    value = model.sweep_request(request).array()[3, 9]
    assert "layer 3" in tip(browser) and 'position 9 " John"' in tip(browser)
    assert f"{value:.4g}" in tip(browser)


def test_the_page_follows_the_readers_colours(browser, pages):
    ground = "getComputedStyle(document.body).backgroundColor"
    fill = "document.querySelector('g[aria-label=cell] rect').getAttribute('fill')"
    seen = []
    for is_dark in (False, True):
        browser.dark(is_dark)
        browser.open(pages / "19-sweep-heads.html")
        seen.append((browser.evaluate(ground), browser.evaluate(fill)))
    browser.dark(False)
    browser.settle()
    assert seen[0][0] == "rgb(255, 255, 255)" and seen[1][0] == "rgb(20, 23, 28)"
    assert seen[0][1] != seen[1][1]
    assert browser.evaluate(fill) == seen[0][1]  # Redrawn without a reload.


def test_no_name_becomes_markup_or_script(browser, model, tmp_path):
    bad = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>&amp;"
    run = model.run(
        f"Mary {bad}", zero("z", layer=1, name=bad), stats=probe("resid_post", "std", name=bad[:99])
    )
    path = show(browser, tmp_path, scalpel.report.run_report(run, model.info, f"A {bad}"))
    assert browser.problems == [] and browser.requests == [path.as_uri()]
    assert browser.evaluate("document.title") == f"A {bad}"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.querySelector('tbody td').textContent") == bad


def test_the_policy_runs_no_other_script_and_loads_nothing(browser, pages):
    browser.open(pages / "10-mean-ablation.html")
    browser.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); const i = new Image(); i.src = 'https://example.org/x.png';"
        "document.body.append(i) })()"
    )
    browser.settle()
    assert browser.evaluate("window.ran") is None
    refused = " ".join(browser.problems)
    assert "script-src" in refused and "img-src" in refused and '"blockedReason": "csp"' in refused


# ---- what else a request may be ------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        dict(interventions=zero("z"), over=["layers", "heads", positions([0, -1])],
             metrics=[logit_diff(" Mary", " John"), prob(" Mary", " John")]),
        dict(variants={"off": zero("z", layer=1), "as it is": []}, metrics=kl_from_clean(),
             stats=[probe("pattern", "entropy", keep="head"), probe("ln_f_out", quantiles=[0.1])]),
        dict(interventions=scale("mlp_out"), over=[layers(), values([0, 1, 2])],
             metrics=[prob(" Mary"), scalpel.rank(" Mary"), scalpel.loss()], reports=True),
    ],
    ids=["three axes", "a list", "layers and values"],
)  # fmt: skip
def test_sweeps_of_every_shape(browser, model, tmp_path, asked):
    sweep = model.sweep([PROMPT, PROMPT], **asked)
    page = scalpel.report.sweep_report(sweep, model.info, "sweep")
    show(browser, tmp_path, page)
    assert browser.problems == []
    drawn = browser.evaluate("document.querySelectorAll('figure.plot svg[role=img]').length")
    assert drawn == len(figures(page)) > 0


def test_a_sweep_that_is_only_validated(model):
    request = scalpel.load_request(environment.EXAMPLES / "19-sweep-heads.json")
    request.validate_only = True
    assert "Nothing ran" in page_of(model, request, "plan")


def test_what_is_too_large_to_draw_is_a_table(model):
    run = model.run(" to" * 200, capture="mlp_post")  # 12 x 200 x 384 numbers.
    (figure,) = figures(scalpel.report.run_report(run, model.info, "large"))
    assert figure["labels"] == ["L2 norm of mlp_post"] and len(figure["values"]) == 12 * 200
    norms = np.linalg.norm(run.capture("mlp_post").astype(np.float64), axis=-1)
    assert np.allclose(figure["values"], norms.ravel(), rtol=1e-5)


def test_what_is_not_finite_is_missing(model):
    run = model.run(PROMPT, capture=scalpel.capture("attn_scores", layer=0))
    (figure,) = figures(scalpel.report.run_report(run, model.info, "scores"))
    shown = np.array(figure["values"], np.float64).reshape(12, 14, 14)
    own = run.capture("attn_scores")
    assert np.array_equal(np.isnan(shown), ~np.isfinite(own))
    assert np.allclose(shown[np.isfinite(own)], own[np.isfinite(own)], rtol=1e-5, atol=1e-6)


# ---- figures -------------------------------------------------------------------------------------


def test_a_cube_is_a_map_with_the_difference_beside_it():
    clean, edited = np.arange(12.0).reshape(2, 1, 2, 3), np.ones((2, 1, 2, 3))
    sides = [Dimension("statistic", "ab"), Dimension("layer", "5"), Dimension("head", "01"),
             Dimension("key", "xyz")]  # fmt: skip
    made = cube.figure(
        "it", {"clean": clean, "edited": edited}, sides, labels=["A", "B"], chosen=1, centre=2.0
    )
    assert (made.kind, made.title) == ("map", "it by head and key")
    assert [choice.name for choice in made.choices] == ["statistic", "run"]
    assert made.choices[1].labels == ["edited", "clean", cube.DIFFERENCE]
    assert np.array_equal(made.values[:, 0], edited[:, 0])
    assert np.array_equal(made.values[:, 2], (edited - clean)[:, 0])
    assert list(made.labels) == ["A", "A", "A", "B", "B", "B"]
    assert list(made.centres) == [2, 2, 0, 2, 2, 0]


def test_a_cube_of_one_axis_is_lines_and_of_none_nothing():
    run = {"clean": np.zeros((2, 3)), "edited": np.ones((2, 3))}
    sides = [Dimension("statistic", "ab"), Dimension("layer", "012")]
    made = cube.figure("it", run, sides, labels=["A", "B"], chosen=1)
    assert made.kind == "lines" and made.rows.labels == ["clean", "edited"]
    assert made.values.shape == (2, 2, 3) and list(made.labels) == ["A", "B"]
    sides[1] = Dimension("layer", "0")
    assert cube.figure("it", {"edited": np.ones((2, 1))}, sides, chosen=1) is None


def test_an_array_that_is_not_as_its_axes_say_is_refused():
    sides = dict(rows=Dimension("r", "ab"), columns=Dimension("c", "xyz"))
    with pytest.raises(AssertionError, match="a name"):
        Figure(kind="map", title="a name", values=np.zeros((3, 2)), **sides).to_json()


# ---- libraries and command -----------------------------------------------------------------------


def test_the_libraries_are_as_published_and_carry_their_licences(pages):
    sums = dict(line.split()[::-1] for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert {p.name for p in VENDOR.iterdir()} - {"README.md", "SHA256SUMS"} == sums.keys()
    page = (pages / "10-mean-ablation.html").read_text("utf-8")
    for name, digest in sums.items():
        content = (VENDOR / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
        assert content.decode() in page, name
    policy = re.search(r'content="(default-src [^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL):
        digest = hashlib.sha256(script.encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_the_command_writes_a_page(server, tmp_path, capsys, monkeypatch):
    example = environment.EXAMPLES / "09-steering.json"
    out = tmp_path / "page.html"
    arguments = ["report", str(example), "--server", server.address]
    assert command.main([*arguments, "-o", str(out), "--title", "Steering & more"]) == 0
    assert "<title>Steering &amp; more</title>" in out.read_text("utf-8")
    assert str(out) in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 0 and (tmp_path / "09-steering.html").exists()


def test_the_command_says_what_is_wrong(server, tmp_path, capsys):
    bad = tmp_path / "bad.json"
    at = ["--server", server.address]
    assert command.main(["report", str(tmp_path / "none.json"), *at]) == 2
    bad.write_text('{"prompt": 1}')
    assert command.main(["report", str(bad), *at]) == 2
    bad.write_text('{"prompts": [{"text": "a"}], "interventions": [{"zero": {}}]}')
    assert command.main(["report", str(bad), *at]) == 1
    assert "interventions[0].place" in capsys.readouterr().err
    text = str(environment.EXAMPLES / "22-generate-steered.json")
    assert command.main(["report", text, *at]) == 2
    assert "pages are about runs and sweeps" in capsys.readouterr().err
    example = str(environment.EXAMPLES / "09-steering.json")
    assert command.main(["report", example, *at, "-o", str(tmp_path / "no" / "page.html")]) == 1
