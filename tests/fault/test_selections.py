"""Layers, heads, columns and positions that do not exist."""

import pytest

from tests.fault.calls import CONFIG, assert_violation

INT32_MAX, INT64_MAX, INT64_MIN = (1 << 31) - 1, (1 << 63) - 1, -(1 << 63)
COLUMNS = 3 * CONFIG["n_embd"]  # of QKV
PROMPTS = [{"token_ids": {"ids": [1, 2, 3, 4]}}]

# How a request says a list of layers, heads or prompts, and the path of the list.
LISTS = {
    "layers of an intervention": (
        lambda values: {
            "interventions": [
                {"place": {"path": "hook_k", "where": {"layers": values}}, "zero": {}}
            ]
        },
        "interventions[0].place.where.layers",
    ),
    "heads of an intervention": (
        lambda values: {
            "interventions": [{"place": {"path": "hook_k", "where": {"heads": values}}, "zero": {}}]
        },
        "interventions[0].place.where.heads",
    ),
    "prompts of an intervention": (
        lambda values: {
            "interventions": [
                {"place": {"path": "hook_k", "where": {"prompts": values}}, "zero": {}}
            ]
        },
        "interventions[0].place.where.prompts",
    ),
    "layers of a probe": (
        lambda values: {
            "probes": [
                {
                    "place": {"path": "hook_z", "where": {"layers": values}},
                    "statistics": ["STATISTIC_STD"],
                }
            ]
        },
        "probes[0].place.where.layers",
    ),
    "heads of a capture": (
        lambda values: {
            "captures": [{"place": {"path": "hook_pattern", "where": {"heads": values}}}]
        },
        "captures[0].place.where.heads",
    ),
    "layers of block outputs": (
        lambda values: {"block_outputs": {"layers": values}},
        "block_outputs.layers",
    ),
    "heads of a patch": (
        lambda values: {
            "interventions": [
                {
                    "place": {"path": "hook_z", "where": {"layers": [3], "heads": [1, 4]}},
                    "patch": {"clean_prompt": 0, "heads": values},
                }
            ]
        },
        "interventions[0].patch.heads",
    ),
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("index", [-13, 12, INT32_MAX, -INT32_MAX - 1])
def test_index_outside_its_axis(faulty, kind, index):
    """layer/head -1, 12, 2^31-1; duplicate and unsorted

    An index that does not exist.
    """
    request, field = LISTS[kind]
    assert_violation(
        faulty,
        {"prompts": PROMPTS, **request([0, index] if index > 0 else [index])},
        f"{field}[{1 if index > 0 else 0}]",
        f"{index} is outside [-",
    )


@pytest.mark.parametrize("kind", [kind for kind in LISTS if not kind.startswith("prompts")])
def test_duplicate(faulty, kind):
    """layer/head -1, 12, 2^31-1; duplicate and unsorted

    A list names each index once.
    """
    request, field = LISTS[kind]
    assert_violation(faulty, {"prompts": PROMPTS, **request([3, 0, 3])}, field, "named twice")


@pytest.mark.parametrize("layer", [-1, 4, INT32_MAX])
def test_patch_from_a_later_layer(faulty, layer):
    """layer/head -1, 12, 2^31-1; duplicate and unsorted

    A patch reads the written layer or an earlier one.
    """
    patch = {"place": {"path": "blocks.3.hook_z"}, "patch": {"clean_prompt": 0, "layer": layer}}
    assert_violation(
        faulty,
        {"prompts": PROMPTS, "interventions": [patch]},
        "interventions[0].patch.layer",
        "outside [0, 3]",
    )


@pytest.mark.parametrize("prompt", [-1, 1, INT32_MAX])
@pytest.mark.parametrize("source", ["prompt", "clean_prompt"])
def test_patch_from_a_prompt_that_is_not_there(faulty, prompt, source):
    """layer/head -1, 12, 2^31-1; duplicate and unsorted

    A prompt by an index that does not exist.
    """
    patch = {"place": {"path": "blocks.3.hook_z"}, "patch": {source: prompt}}
    assert_violation(
        faulty,
        {"prompts": PROMPTS, "interventions": [patch]},
        f"interventions[0].patch.{source}",
        "outside [0, 1)",
    )


@pytest.mark.parametrize(
    "path",
    [
        "blocks.12.hook_k",
        "h.2147483648.hook_k",
        "blocks.-1.hook_k",
        "blocks.99999999999999999999.hook_k",
        "blocks..hook_k",
        "blocks.3.hook_embed",
        "a" * 100_000,
        "hook_k\n",
    ],
)
def test_path_that_names_nothing(faulty, path):
    """layer/head -1, 12, 2^31-1; duplicate and unsorted

    The same said as a path.
    """
    request = {"prompts": PROMPTS, "interventions": [{"place": {"path": path}, "zero": {}}]}
    found = assert_violation(faulty, request, "interventions[0].place.path")
    assert len(found.message) < 2000, "the path comes back whole"


def units(**kind):
    place = {"site": "SITE_QKV", "where": {"layers": [5], "units": kind}}
    return {"prompts": PROMPTS, "interventions": [{"place": place, "zero": {}}]}


@pytest.mark.parametrize(
    "range_, part",
    [
        ({"start": 20, "end": 10}, ""),
        ({"start": 10, "end": 10}, ""),
        ({"start": -1, "end": -5}, ""),
        ({"start": 0, "end": COLUMNS + 1}, ".end"),
        ({"start": 0, "end": INT64_MAX}, ".end"),
        ({"start": 0, "end": INT64_MIN}, ".end"),
        ({"end": -COLUMNS - 1}, ".end"),
        ({"start": COLUMNS}, ".start"),
        ({"start": INT64_MAX}, ".start"),
        ({"start": INT64_MIN}, ".start"),
        ({"start": INT64_MAX, "end": INT64_MIN}, ".start"),
        ({"start": -COLUMNS - 1}, ".start"),
        ({"step": 0}, ".step"),
        ({"step": -1}, ".step"),
        ({"step": INT64_MIN}, ".step"),
    ],
)
def test_column_range(faulty, range_, part):
    """column range end < start, end > 2304, start+len wraps; empty range"""
    range_ = {key: str(value) for key, value in range_.items()}
    assert_violation(faulty, units(range=range_), f"interventions[0].place.where.units.range{part}")


def test_a_step_beyond_the_axis_selects_its_start(faulty):
    """column range end < start, end > 2304, start+len wraps; empty range

    Start + step wraps, and is harmless.
    """
    result = faulty.run(units(range={"start": str(COLUMNS - 1), "step": str(INT64_MAX)}))
    assert result.reports[0].elements_selected == len(result.tokens[0])


@pytest.mark.parametrize(
    "values, field",
    [
        ([], ".indices.values"),
        ([0, COLUMNS], ".indices.values[1]"),
        ([-COLUMNS - 1], ".indices.values[0]"),
        ([INT64_MAX], ".indices.values[0]"),
        ([INT64_MIN], ".indices.values[0]"),
        ([7, 7], ".indices.values"),
        ([COLUMNS - 1, -1], ".indices.values"),
        ([0] * 100_000, ".indices.values"),
    ],
)
def test_column_list(faulty, values, field):
    """column range end < start, end > 2304, start+len wraps; empty range

    The same for a list.
    """
    request = units(indices={"values": [str(value) for value in values]})
    assert_violation(faulty, request, f"interventions[0].place.where.units{field}")


@pytest.mark.parametrize(
    "positions, field",
    [
        ({"indices": {"values": ["4"]}}, "positions.indices.values[0]"),
        ({"indices": {"values": ["-5"]}}, "positions.indices.values[0]"),
        ({"range": {"start": "4"}}, "positions.range.start"),
        ({"range": {"start": "2", "end": "1"}}, "positions.range"),
        ({}, "positions"),
    ],
)
@pytest.mark.parametrize("owner", ["interventions[0].place.where", "logits"])
def test_positions_outside_the_prompt(faulty, positions, field, owner):
    """column range end < start, end > 2304, start+len wraps; empty range

    The same for positions.
    """
    if owner == "logits":
        request = {"prompts": PROMPTS, "logits": {"positions": positions}}
    else:
        place = {"path": "hook_k", "where": {"positions": positions}}
        request = {"prompts": PROMPTS, "interventions": [{"place": place, "zero": {}}]}
    assert_violation(faulty, request, f"{owner}.{field}")


@pytest.mark.parametrize(
    "site, where, field",
    [
        ("SITE_EMBED", {"layers": [0]}, "layers"),
        ("SITE_RESID_POST", {"heads": [0]}, "heads"),
        ("SITE_PATTERN", {"units": {"range": {}}}, "units"),
        ("SITE_K", {"key_positions": {"range": {}}}, "key_positions"),
        (
            "SITE_ATTN_SCORES",
            {
                "positions": {"indices": {"values": [0]}},
                "key_positions": {"indices": {"values": [1]}},
            },
            "",
        ),
    ],
)
def test_selection_that_the_site_has_no_axis_for(faulty, site, where, field):
    """column range end < start, end > 2304, start+len wraps; empty range

    Nothing can be selected.
    """
    request = {
        "prompts": PROMPTS,
        "interventions": [{"place": {"site": site, "where": where}, "zero": {}}],
    }
    assert_violation(
        faulty, request, "interventions[0].place.where" + (f".{field}" if field else "")
    )


@pytest.mark.parametrize(
    "pair", [(0, 1), (4, 0), (-5, 0), (0, -5), (INT64_MAX, INT64_MAX), (INT64_MIN, INT64_MIN)]
)
def test_knockout_of_a_pair_that_is_not_there(faulty, pair):
    """column range end < start, end > 2304, start+len wraps; empty range

    A query that lies before its key.
    """
    knockout = {"pairs": [{"query": str(pair[0]), "key": str(pair[1])}]}
    request = {
        "prompts": PROMPTS,
        "interventions": [{"place": {"path": "hook_attn_scores"}, "knockout": knockout}],
    }
    assert_violation(faulty, request, "interventions[0].knockout.pairs[0]", "key <= query")
