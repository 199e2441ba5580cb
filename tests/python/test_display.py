"""What notebooks and terminals show."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import scalpel
from scalpel import display, kl_from_clean, logit_diff, prob, scale, svg, top_k, values, zero
from tests.python.raw import OTHER, PROMPT


def parsed(html):
    """The page as a tree: what is not well-formed is an error."""
    return ElementTree.fromstring(f"<page>{html}</page>".replace("&ensp;", " "))


def text_of(html):
    return " ".join(parsed(html).itertext())


def test_a_run(model):
    run = model.run(
        PROMPT,
        [zero("k", layer=5, name="<b>off</b>"), scale("resid_post", 0.1)],
        stats={"resid_post": ["std", "mean"]},
        capture="pattern",
        clean=True,
    )
    shown = run._repr_html_()
    text = text_of(shown)
    for part in (run.request_id, "Mary", "clean, prompt 0", "edited, prompt 0", "<b>off</b>",
                 "std of resid_post[0]", "24 tensors", "tokens computed"):  # fmt: skip
        assert part in text, part
    lines = [line for line in parsed(shown).iter() if line.tag.endswith("polyline")]
    assert len(lines) == 4  # Two statistics, clean and edited.


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\"'><img src=x>", "&lt;"])
def test_nothing_that_a_prompt_or_a_name_says_becomes_html(model, hostile):
    run = model.run(hostile, zero("k", name=hostile), stats=scalpel.probe("k", "std", name=hostile))
    sweep = model.sweep(hostile, scale("k"), over=[values([1, 2], name=hostile), "layers"],
                        metrics=kl_from_clean(name=hostile))  # fmt: skip
    for result in (run, sweep, run.stats):
        tags = {element.tag.rpartition("}")[2] for element in parsed(result._repr_html_()).iter()}
        assert not tags & {"script", "img"} and hostile in text_of(result._repr_html_())


def test_sweeps(model):
    two = model.sweep(
        PROMPT, zero("z"), over=["layers", "heads"], metrics=logit_diff(" Mary", " John")
    )
    cells = [cell for cell in parsed(two._repr_html_()).iter() if cell.tag.endswith("rect")]
    assert len(cells) == 144
    worst = two.extremes(relative_to=two.clean(), n=1)[0][0]
    strongest = cells[12 * worst["layer"] + worst["head"]]
    assert strongest.attrib["fill"] in (svg.colour(-1), svg.colour(1))
    one = model.sweep(PROMPT, scale("resid_post", layer=9), over=values([0, 1, 2]),
                      metrics=[prob(" Mary"), prob(" Mary", " John"), top_k(2)])  # fmt: skip
    assert one._repr_html_().count("<polyline") == 1 and "array (3, 2)" in text_of(
        one._repr_html_()
    )
    three = model.sweep(PROMPT, zero("z"), over=["layers", "heads", scalpel.positions([0, 1])],
                        metrics=kl_from_clean())  # fmt: skip
    assert "furthest from 0" in text_of(three._repr_html_())
    patched = model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John")
    assert patched._repr_html_().count("<rect") == 12 * 14


def test_statistics_and_the_model(model):
    run = model.run(["a b", PROMPT], stats={"resid_post": "std", "ln_f_out": "max"}, clean=True)
    assert "22 more rows" in text_of(run.stats._repr_html_())
    assert "ln_f_out[1]" in text_of(run.stats[-4:]._repr_html_())
    shown = text_of(model.info._repr_html_())
    assert all(site in shown for site in model.info.sites) and "attn.hook_k" in shown


def test_numbers_that_are_none_are_shown_grey():
    assert svg.colour(float("nan")) == "#999999"
    assert svg.colour(0) == "#ffffff" and svg.colour(9) == svg.colour(1) != svg.colour(-1)
    matrix = np.array([[np.nan, np.inf], [0.0, 1.0]])
    assert svg.heat_map(matrix, ["a", "b"], ["c", "d"]).count("#999999") == 2
    assert svg.lines({"x": np.array([np.nan, np.nan])}, ["a", "b"]) == ""
    parsed(svg.lines({"x": np.array([1.0])}, ["<"], "<"))


def test_cells():
    assert display.text(True) == "True" and display.text(1234567) == "1,234,567"
    assert display.text(0.123456) == "0.1235" and display.text("<") == "&lt;"


def test_short_forms(model):
    run = model.run(PROMPT, zero("z"), capture="q", stats={"z": "std"})
    assert repr(run).startswith("<RunResult ") and "12 tensors" in repr(run)
    assert "float32 {'position': 14, 'head': 12, 'unit': 8}" in repr(run.tensors[0])
    assert "z[0]" in repr(run.stats) and "demo-model" in repr(model)
    assert "12 layers" in repr(model.info)
    assert "flops" in repr(model.validate(PROMPT))


# ---- the command ---------------------------------------------------------------------------------


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scalpel", *arguments], capture_output=True, text=True, timeout=60
    )


def test_info(server, model):
    shown = command("info", "--server", server.address)
    assert shown.returncode == 0, shown.stderr
    assert "12 layers, 12 heads" in shown.stdout and "blocks" not in shown.stderr
    assert all(site in shown.stdout for site in model.info.sites)
    as_json = command("info", "--server", server.address, "--json")
    assert '"n_layer": 12' in as_json.stdout


def test_the_command_fails_as_commands_do(tmp_path):
    nobody = command("info", "--server", "127.0.0.1:9", "--timeout", "5")
    assert nobody.returncode == 1 and nobody.stderr.startswith("scalpel: UNAVAILABLE: ")
    assert command().returncode == 2 and "COMMAND" in command().stderr
    assert command("nonsense").returncode == 2
    assert command("--version").stdout.strip() == scalpel.__version__
    assert "info" in command("--help").stdout
    assert "--server" in command("info", "--help").stdout
