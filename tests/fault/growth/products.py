"""Short requests whose parts multiply: lists times prompts, interventions times cells of a grid."""

from typing import Any

from scalpel.v1 import run_pb2, sweep_pb2
from tests.support.client import make_request

Json = dict[str, Any]

Z = {"place": {"site": "SITE_Z"}}
LAYER = {"layers": [1]}
# Tokens that a prompt has, among many that it has not.
TOKENS = {"tokens": {"ids": [3, *range(5, 900)]}}
PAIRS = [{"query": "0", "key": "0"}]
METRICS = [{"kl_from_clean": {}}]


def _prompts(count: int, length: int = 1) -> list[Json]:
    return [{"token_ids": {"ids": [3] * length}}] * count


def _grid(*others: Json, count: int = 1) -> Json:
    """Ten thousand cells that vary `count` scales, and repeat `others`."""
    axis = {"interventions": list(range(count)), "values": {"values": list(range(10_000))}}
    grid = {"interventions": [{**Z, "scale": {}}] * count + list(others), "axes": [axis]}
    return {"prompts": _prompts(2, 10), "grid": grid, "metrics": METRICS}


RUNS: dict[str, Json] = {
    "interventions times prompts": {
        "prompts": _prompts(256),
        "interventions": [{**Z, "zero": {}}] * 1024,
    },
    "probes times prompts": {
        "prompts": _prompts(256),
        "probes": [{**Z, "statistics": ["STATISTIC_STD"]}] * 1024,
    },
    "captures times prompts": {"prompts": _prompts(256), "captures": [Z] * 1024},
    "tokens times prompts": {
        "prompts": _prompts(64, 250),
        "interventions": [
            {"place": {"site": "SITE_Z", "where": {**LAYER, "positions": TOKENS}}, "zero": {}}
        ]
        * 1024,
    },
    "pairs times lengths of prompts": {
        "prompts": [{"token_ids": {"ids": [3] * (n + 1)}} for n in range(170)],
        "interventions": [
            {"place": {"site": "SITE_ATTN_SCORES"}, "knockout": {"pairs": PAIRS * 60_000}}
        ]
        * 8,
    },
}
SWEEPS: dict[str, Json] = {
    "variants times interventions": {
        "prompts": _prompts(16),
        "variants": {"variants": [{"interventions": [{**Z, "zero": {}}] * 10}] * 10_000},
        "metrics": METRICS,
    },
    "variants times metrics times prompts": {
        "prompts": _prompts(256, 60),
        "variants": {"variants": [{}] * 10_000},
        "metrics": [{"ranks": {"ids": list(range(1000))}}] * 64,
    },
    "cells times interventions": _grid(count=1024),
    "cells times invalid interventions": {**_grid(count=1024), "prompts": _prompts(256)},
    "cells times pairs": _grid(
        {"place": {"site": "SITE_ATTN_SCORES"}, "knockout": {"pairs": PAIRS * 60_000}}
    ),
    "cells times units": _grid(
        {
            "place": {"site": "SITE_Z", "where": {"units": {"indices": {"values": [0] * 60_000}}}},
            "zero": {},
        }
    ),
    "cells times numbers": _grid({**Z, "add": {"tensor": {"values": [1] * 1_000_000}}}),
}


def messages() -> dict[str, run_pb2.RunRequest | sweep_pb2.SweepRequest]:
    made = {name: make_request(run, run_pb2.RunRequest) for name, run in RUNS.items()}
    return made | {name: make_request(one, sweep_pb2.SweepRequest) for name, one in SWEEPS.items()}
