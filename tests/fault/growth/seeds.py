"""Small requests that are valid, and together use every repeated field of Run and of Sweep."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

PROMPTS = [{"token_ids": {"ids": [1, 2, 3, 4]}}, {"token_ids": {"ids": [5, 6, 7, 8]}}]
METRICS = [{"kl_from_clean": {}}]
INDICES = {"indices": {"values": ["1"]}}
TOKENS = {"tokens": {"ids": [2]}}
TENSOR = {"values": [1], "shape": [1]}


def _where(**more: Any) -> Json:
    return {"layers": [1], "heads": [1], "prompts": [0], **more}


# Each way to select.
PLACES: list[Json] = [
    {"site": "SITE_Z", "where": _where(units=INDICES, positions=INDICES)},
    {"site": "SITE_Z", "where": _where(positions=TOKENS)},
    {"site": "SITE_PATTERN", "where": _where(key_positions=INDICES)},
    {"site": "SITE_PATTERN", "where": _where(key_positions=TOKENS)},
]
_Z = {"site": "SITE_Z", "where": {"layers": [1], "prompts": [0]}}
_SCORES = {"site": "SITE_ATTN_SCORES", "where": {"layers": [1]}}
_RESID = {"site": "SITE_RESID_POST", "where": {"layers": [1]}}
_DIRECTION = {"values": [1] * 4, "shape": [4]}
_FOUR_UNITS = {**_RESID, "where": {"layers": [1], "units": {"range": {"start": 0, "end": 4}}}}
INTERVENTIONS: list[Json] = [
    *({"place": place, "scale": {"factor": 2}} for place in PLACES),
    {"place": _Z, "add": {"tensor": TENSOR}},
    {"place": _Z, "set": {"tensor": TENSOR}},
    {"place": _RESID, "mean": {"over": INDICES}},
    {"place": _RESID, "mean": {"over": {"tokens": {"ids": [2, 6]}}}},
    {
        "place": {**_Z, "where": _where(positions=INDICES)},
        "patch": {"prompt": 1, "positions": INDICES, "heads": [2]},
    },
    {
        "place": {**_Z, "where": _where(positions=INDICES)},
        "patch": {"prompt": 1, "positions": {"tokens": {"ids": [6]}}},
    },
    {
        "place": {"site": "SITE_PATTERN", "where": _where(key_positions=INDICES)},
        "patch": {"prompt": 1, "key_positions": INDICES},
    },
    {
        "place": {"site": "SITE_PATTERN", "where": _where(key_positions=INDICES)},
        "patch": {"prompt": 1, "key_positions": {"tokens": {"ids": [6]}}},
    },
    {"place": _FOUR_UNITS, "project_out": {"direction": _DIRECTION}},
    {"place": _SCORES, "knockout": {"pairs": [{"query": "1", "key": "0"}]}},
]
PROBES: list[Json] = [
    {
        "place": place,
        "statistics": ["STATISTIC_STD"],
        "keep": ["AXIS_HEAD"],
        "quantiles": [0.5],
    }
    for place in PLACES
]
# A grid's axes, each with an intervention to vary.
AXES: list[tuple[Json, Json]] = [
    ({"place": {"site": "SITE_Z"}, "zero": {}}, {"layers": {"values": ["1", "2"]}}),
    ({"place": {"site": "SITE_Z"}, "zero": {}}, {"heads": {"values": ["1", "2"]}}),
    ({"place": {"site": "SITE_Z"}, "zero": {}}, {"positions": {"values": ["1", "2"]}}),
    ({"place": {"site": "SITE_Z"}, "scale": {}}, {"values": {"values": [1, 2]}}),
    (
        {"place": _FOUR_UNITS, "project_out": {}},
        {"directions": {"values": [1] * 8, "shape": [2, 4]}},
    ),
]
TOKEN_METRICS = ("logits", "log_probs", "probabilities", "ranks")
SCORES: list[Json] = [
    {"logit_diff": {"targets": [1], "distractors": [2]}},
    {"logit_diff": {"target_texts": ["a"], "distractor_texts": ["b"]}},
    {"patching_score": {"targets": [1], "distractors": [2], "sources": [0, 0]}},
    {"patching_score": {"target_texts": ["a"], "distractor_texts": ["b"], "sources": [0, 0]}},
]


def runs() -> Iterator[Json]:
    for intervention in INTERVENTIONS:
        yield {"prompts": PROMPTS, "interventions": [intervention]}
    for probe in PROBES:
        yield {"prompts": PROMPTS, "probes": [probe]}
    for place in PLACES:
        yield {"prompts": PROMPTS, "captures": [{"place": place}]}
    for positions in (INDICES, TOKENS):
        logits = {"positions": positions, "ids": {"ids": [3]}}
        yield {"prompts": PROMPTS[:1], "logits": logits}
    yield {"prompts": PROMPTS, "block_outputs": {"layers": [1]}}


def sweeps() -> Iterator[Json]:
    for intervention in INTERVENTIONS:
        variants = {"variants": [{"interventions": [intervention]}]}
        yield {"prompts": PROMPTS, "variants": variants, "metrics": METRICS}
        axis = {"interventions": [0], "values": {"values": [1, 2]}}
        varied = {"place": {"site": "SITE_Z"}, "scale": {}}
        grid = {"interventions": [varied, intervention], "axes": [axis]}
        yield {"prompts": PROMPTS, "grid": grid, "metrics": METRICS}
    for intervention, over in AXES:
        grid = {"interventions": [intervention], "axes": [{"interventions": [0], **over}]}
        yield {"prompts": PROMPTS, "grid": grid, "metrics": METRICS}
    rest = {"prompts": PROMPTS, "variants": {"variants": [{"interventions": INTERVENTIONS[:1]}]}}
    for probe in PROBES:
        yield {**rest, "metrics": METRICS, "probes": [probe]}
    for kind in TOKEN_METRICS:
        yield {**rest, "metrics": [{kind: {"ids": [1]}}]}
        yield {**rest, "metrics": [{kind: {"texts": ["a"]}}]}
    for metric in SCORES:
        yield {**rest, "sources": PROMPTS[:1], "metrics": [metric]}
