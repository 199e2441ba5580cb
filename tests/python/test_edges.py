"""Attention's edges, knocked out one by one."""

import numpy as np
import pytest

import scalpel
from scalpel import heads, knockout, layers, logit_diff, plots, positions, tokens
from tests.python.raw import OTHER, PROMPT

N_LAYER, N_HEAD, T = 12, 12, 14
DIFFERENCE = {"metrics": logit_diff(" Mary", " John")}
MARY, LAST = 1, T - 1


@pytest.fixture(scope="module")
def of_head(model):
    """The edges of one head, which looks at Mary."""
    return model.knock_out_edges(PROMPT, layer=8, head=11, **DIFFERENCE)


def test_each_edge_is_a_knockout(model, of_head):
    """Bit for bit, as the sweep that lists them."""
    pairs = [(query, key) for query in range(T) for key in range(query + 1)]
    listed = model.sweep(PROMPT, variants=[knockout([pair], layer=8, head=11) for pair in pairs],
                         **DIFFERENCE)  # fmt: skip
    expected = np.full((T, T), np.nan)
    expected[tuple(np.transpose(pairs))] = listed.array()
    np.testing.assert_array_equal(of_head.array(), expected)
    assert len(set(listed.array())) > 50


def test_the_edge_that_matters(of_head):
    ((place, value),) = of_head.extremes(n=1, relative_to=of_head.clean())
    assert place == {"query": LAST, "key": MARY} and value < of_head.clean() - 1
    assert (
        of_head.axes[0].labels[LAST] == '13 " to"' and of_head.axes[1].labels[MARY] == '1 " Mary"'
    )
    assert of_head.variant(LAST, MARY).metrics[0].values == (value,)
    with pytest.raises(LookupError, match="did not come"):
        of_head.variant(MARY, LAST)


def test_what_shows_it_has_the_edges_that_there_are(of_head):
    frame = of_head.to_pandas()
    assert len(frame) == T * (T + 1) / 2 and (frame["key"] <= frame["query"]).all()
    drawn = plots.heat_map(of_head).images[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(drawn, np.nan), of_head.array())
    assert of_head.to_xarray().dims == ("prompt", "query", "key")
    assert "14 query x 14 key" in repr(of_head) and "cut short" not in repr(of_head)
    assert "logit_diff" in of_head._repr_html_()


def test_over_layers_and_heads(model, of_head):
    result = model.knock_out_edges(PROMPT, query=-1, key=MARY, over=["layers", "heads"],
                                   **DIFFERENCE)  # fmt: skip
    grid = model.sweep(PROMPT, knockout(query=-1, key=MARY), over=["layers", "heads"], **DIFFERENCE)
    assert result.shape == (N_LAYER, N_HEAD, 1, 1)
    np.testing.assert_array_equal(result.array()[:, :, 0, 0], grid.array())
    some = model.knock_out_edges(PROMPT, query=-1, key=MARY, layer=8, over=heads([11, 2]),
                                 **DIFFERENCE)  # fmt: skip
    np.testing.assert_array_equal(some.array()[:, 0, 0], grid.array()[8, [11, 2]])
    assert grid.array()[8, 11] == of_head.array()[LAST, MARY]


def test_positions_by_token_in_each_prompt(model):
    """Of two prompts, in which the token stands elsewhere: as two runs of one."""
    longer = "After Tom and Mary went to the big store, John gave a drink to"
    mary = tokens(model.token_id(" Mary"))
    both = model.knock_out_edges([PROMPT, longer], query=-1, key=mary, layer=8, **DIFFERENCE)
    assert both.shape == (1, 1)
    for i, prompt in enumerate((PROMPT, longer)):
        alone = model.knock_out_edges(prompt, query=-1, key=mary, layer=8, **DIFFERENCE)
        assert both.array(prompt=i) == alone.array() != alone.clean()
    assert both.prompts[1].ids.index(model.token_id(" Mary")) != MARY


def test_an_edge_that_only_one_prompt_has(model):
    """Mary comes after John in one of them: there is no such edge there."""
    prompts = ["When Mary and John went", "When John and Mary went"]
    ends = [tokens(model.token_id(name)) for name in (" John", " Mary")]
    both = model.knock_out_edges(prompts, query=ends[0], key=ends[1], **DIFFERENCE)
    assert both.array(prompt=0) != both.clean(prompt=0)
    assert both.array(prompt=1) == both.clean(prompt=1)


@pytest.mark.parametrize("options, said", [
    ({"query": 3, "key": 5}, "no edge; a query attends to keys at or before it"),
    ({"query": T}, "query: 14 is outside a prompt of 14 tokens"),
    ({"key": -15}, "key: -15 is outside"),
    ({"key": tokens(1999)}, r"key: tokens\(1999\) is nowhere"),
    ({"layer": 3, "over": "layers"}, "over: sets a layer that"),
    ({"over": positions([1])}, r"over: positions\(\[1\]\) is not one of layers, heads"),
    ({"over": ["layers", layers([1])]}, r"over\[1\]: a second axis 'layer'"),
])  # fmt: skip
def test_what_is_refused(model, options, said):
    with pytest.raises(ValueError, match=said) as raised:
        model.knock_out_edges(PROMPT, **DIFFERENCE, **options)
    assert not isinstance(raised.value, scalpel.ScalpelError)


def test_prompts_with_another_number_of_positions(model):
    with pytest.raises(ValueError, match=r"query: prompts have \[4, 14\] such positions"):
        model.knock_out_edges([PROMPT, "When Mary and John"], **DIFFERENCE)


@pytest.mark.parametrize("options, argument", [
    ({"layer": 12}, "layer"),
    ({"over": heads([12])}, "head"),
    ({"metrics": ()}, "metrics"),
    ({"metrics": logit_diff(" Mary", " no such token")}, "metrics.distractor"),
])  # fmt: skip
def test_what_the_server_refuses_names_an_argument(model, options, argument):
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.knock_out_edges(PROMPT, query=-1, key=MARY, **{**DIFFERENCE, **options})
    found = [violation.argument for violation in raised.value.violations]
    assert argument in found, raised.value


def test_an_edge_matters_to_the_prompt_it_is_in(model):
    """And to no other of the same call."""
    result = model.knock_out_edges([PROMPT, OTHER], query=-1, key=MARY, **DIFFERENCE)
    alone = model.knock_out_edges(OTHER, query=-1, key=MARY, **DIFFERENCE)
    assert result.array(prompt=1) == alone.array() != result.array(prompt=0)
