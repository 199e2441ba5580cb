"""How notebooks, terminals and figures show generations, and their events one by one."""

import matplotlib

matplotlib.use("Agg")

import pytest
from matplotlib import pyplot

import scalpel
from scalpel import calls, generation, plots
from scalpel.generation_events import GeneratedToken, GenerationStarted, StreamFinished
from tests.python import generations
from tests.python.generations import TEXTS, TWINS, observed, result_of
from tests.python.test_display import text_of


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_short_forms():
    result = result_of(generations.whole(TEXTS, TWINS))
    assert repr(result) == "<GenerationResult generation-1: 1 prompts, 2 streams, 6 tokens, 2.0 ms>"
    assert repr(result.streams[1]) == (
        "<GeneratedStream prompt 0, continuation 0, unsteered: ' of Spain is', 3 tokens, length>"
    )
    long = result_of(generations.whole([["word "] * 8 * 4]))
    assert len(repr(long.streams[0])) < 140 and "…" in repr(long.streams[0])
    started = next(generation.GenerationDecoder().decode(generations.whole(TEXTS)[0]))
    assert isinstance(started, GenerationStarted) and "2 streams" in repr(started)


def test_the_card_marks_what_differs():
    shown = result_of(
        generations.whole([[" of", " <b>", "\n"], [" of", " x"]], TWINS)
    )._repr_html_()
    text = text_of(shown)
    for part in ("generation-1", " capital", "steered", "unsteered", " <b>", "\\n", "scale[0]"):
        assert part in text, part
    assert shown.count("background:#ffd9b3") == 2, "the second token, and one the twin has not"
    plain = result_of(generations.whole(TEXTS))._repr_html_()
    assert "background:#ffd9b3" not in plain and "steered" not in plain
    assert "continuation 1" in plain


def test_the_events_of_a_stream():
    decoder = generation.generate("The capital", max_new_tokens=8).decoder()
    events = [e for r in generations.whole(TEXTS[:1]) for e in decoder.decode(r)]
    names = [type(event).__name__ for event in events]
    assert names == ["GenerationStarted", *["GeneratedToken"] * 3, "StreamFinished", "Report",
                     "Finished"]  # fmt: skip
    assert "".join(e.text for e in events if isinstance(e, GeneratedToken)) == " of France is"
    assert [e.reason for e in events if isinstance(e, StreamFinished)] == ["length"]


def test_a_token_without_a_text_is_its_id():
    first = generations.started([(0, 0, False)])
    events = [first, generations.token(0, 0, "", 50300), generations.token(0, 1, "[50300]", 50300)]
    decoder = generation.generate("a", max_new_tokens=8).decoder()
    found = [event for one in events for event in decoder.decode(one)][1:]
    assert [token.token for token in found] == ["", "<50300>"]
    assert [token.shown for token in found] == ["<50300>", "<50300>"]


def test_a_validation_is_one_event():
    call = calls.validation(generation.generate("a", max_new_tokens=8), GenerationStarted)
    assert call.request.validate_only
    decoder = call.decoder()
    (event,) = decoder.decode(generations.started([(0, 0, False)], call.request))
    decoder.finish()
    assert call.result([event]) is event and isinstance(event, GenerationStarted)
    assert scalpel.GenerationResult.__module__ == "scalpel.generation_result"


# ---- figures -------------------------------------------------------------------------------------


def test_a_statistic_is_a_line_over_steps():
    events = [
        *generations.statistics(0, 0, 1.0), *generations.statistics(0, 1, 2.0),
        *generations.statistics(1, 0, 3.0), *generations.statistics(1, 1, 4.0),
    ]  # fmt: skip
    result = observed(*events, streams=TWINS, texts=[["a", "b"], ["c", "d"]])
    ax = plots.stat_by_step(result, "resid_post", layer=1)
    assert [line.get_label() for line in ax.lines] == ["unsteered", "steered"]
    assert [list(line.get_ydata()) for line in ax.lines] == [[4, 5], [2, 3]]
    assert list(ax.lines[0].get_xdata()) == [0, 1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "std of resid_post")
    with pytest.raises(ValueError, match="say a layer"):
        plots.stat_by_step(result, "resid_post")


def test_the_line_begins_where_the_statistic_does():
    result = observed(*generations.statistics(0, 1, 2.0))
    _, ax = pyplot.subplots()
    (line,) = plots.stat_by_step(result, "resid_post", layer=0, ax=ax).lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1], [2])
