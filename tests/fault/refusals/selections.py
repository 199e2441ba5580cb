"""Layers, heads, columns and positions that do not exist."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.fault.calls import CONFIG
from tests.fault.refusals.case import (
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    PROMPTS,
    Case,
    edit,
    run,
    zero,
)

COLUMNS = 3 * CONFIG["n_embd"]  # of QKV


def _zero_where(axis: str) -> Callable[[list[int]], dict[str, Any]]:
    def request(values: list[int]) -> dict[str, Any]:
        place = {"path": "hook_k", "where": {axis: values}}
        return {"interventions": [{"place": place, "zero": {}}]}

    return request


def _probe(values: list[int]) -> dict[str, Any]:
    place = {"path": "hook_z", "where": {"layers": values}}
    return {"probes": [{"place": place, "statistics": ["STATISTIC_STD"]}]}


def _capture(values: list[int]) -> dict[str, Any]:
    return {"captures": [{"place": {"path": "hook_pattern", "where": {"heads": values}}}]}


def _block_outputs(values: list[int]) -> dict[str, Any]:
    return {"block_outputs": {"layers": values}}


def _patch(values: list[int]) -> dict[str, Any]:
    place = {"path": "hook_z", "where": {"layers": [3], "heads": [1, 4]}}
    return {"interventions": [{"place": place, "patch": {"clean_prompt": 0, "heads": values}}]}


# How a request says a list of layers, heads or prompts, and the path of the list.
LISTS = {
    "layers of an intervention": (_zero_where("layers"), "interventions[0].place.where.layers"),
    "heads of an intervention": (_zero_where("heads"), "interventions[0].place.where.heads"),
    "prompts of an intervention": (_zero_where("prompts"), "interventions[0].place.where.prompts"),
    "layers of a probe": (_probe, "probes[0].place.where.layers"),
    "heads of a capture": (_capture, "captures[0].place.where.heads"),
    "layers of block outputs": (_block_outputs, "block_outputs.layers"),
    "heads of a patch": (_patch, "interventions[0].patch.heads"),
}


def cases() -> Iterator[Case]:
    yield from _lists()
    yield from _sources_of_patches()
    yield from _paths()
    yield from _columns()
    yield from _positions()
    yield from _axes_that_a_site_lacks()
    yield from _pairs()


def _lists() -> Iterator[Case]:
    for kind, (request, field) in LISTS.items():
        for index in (-13, 12, INT32_MAX, INT32_MIN):
            values = [0, index] if index > 0 else [index]
            path = f"{field}[{len(values) - 1}]"
            yield run(f"{kind}: {index}", request(values), path)
        if not kind.startswith("prompts"):  # there is one prompt
            yield run(f"{kind}: one twice", request([3, 0, 3]), field)


def _sources_of_patches() -> Iterator[Case]:
    """A patch reads the written layer or an earlier one, of a prompt that is there."""
    place = {"path": "blocks.3.hook_z"}
    for layer in (-1, 4, INT32_MAX):
        patch = {"clean_prompt": 0, "layer": layer}
        yield edit(f"patch from layer {layer}", {"place": place, "patch": patch}, "patch.layer")
    for source in ("prompt", "clean_prompt"):
        for prompt in (-1, 1, INT32_MAX):
            patch = {"place": place, "patch": {source: prompt}}
            yield edit(f"patch from {source} {prompt}", patch, f"patch.{source}")


def _paths() -> Iterator[Case]:
    for name, path in {
        "layer 12": "blocks.12.hook_k",
        "layer 2^31": "h.2147483648.hook_k",
        "layer -1": "blocks.-1.hook_k",
        "layer of 20 digits": "blocks.99999999999999999999.hook_k",
        "no layer": "blocks..hook_k",
        "layer of a site without layers": "blocks.3.hook_embed",
        "100 KB": "a" * 100_000,
        "new line": "hook_k\n",
    }.items():
        yield zero(f"path with {name}", {"path": path}, "path")


def _columns() -> Iterator[Case]:
    def units(name: str, kind: dict[str, Any], field: str) -> Case:
        place = {"site": "SITE_QKV", "where": {"layers": [5], "units": kind}}
        return zero(f"columns {name}", place, f"where.units.{field}")

    for range_, part in [
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
    ]:
        texts = {key: str(value) for key, value in range_.items()}
        yield units(f"{range_}", {"range": texts}, f"range{part}")
    for name, values, part in [
        ("none", [], ""),
        ("first beyond", [0, COLUMNS], "[1]"),
        ("last before", [-COLUMNS - 1], "[0]"),
        ("2^63 - 1", [INT64_MAX], "[0]"),
        ("-2^63", [INT64_MIN], "[0]"),
        ("one twice", [7, 7], ""),
        ("one from both ends", [COLUMNS - 1, -1], ""),
        ("more than there are", [0] * 100_000, ""),
    ]:
        texts = [str(value) for value in values]
        yield units(name, {"indices": {"values": texts}}, f"indices.values{part}")


def _positions() -> Iterator[Case]:
    for name, positions, field in [
        ("first beyond", {"indices": {"values": ["4"]}}, "positions.indices.values[0]"),
        ("last before", {"indices": {"values": ["-5"]}}, "positions.indices.values[0]"),
        ("range from beyond", {"range": {"start": "4"}}, "positions.range.start"),
        ("range that ends first", {"range": {"start": "2", "end": "1"}}, "positions.range"),
        ("none", {}, "positions"),
    ]:
        place = {"path": "hook_k", "where": {"positions": positions}}
        yield zero(f"positions: {name}", place, f"where.{field}")
        logits = {"logits": {"positions": positions}}
        yield run(f"positions of logits: {name}", logits, f"logits.{field}")


def _axes_that_a_site_lacks() -> Iterator[Case]:
    future = {
        "positions": {"indices": {"values": [0]}},
        "key_positions": {"indices": {"values": [1]}},
    }
    for site, where, field in [
        ("SITE_EMBED", {"layers": [0]}, "where.layers"),
        ("SITE_RESID_POST", {"heads": [0]}, "where.heads"),
        ("SITE_PATTERN", {"units": {"range": {}}}, "where.units"),
        ("SITE_K", {"key_positions": {"range": {}}}, "where.key_positions"),
        ("SITE_ATTN_SCORES", future, "where"),
    ]:
        name = f"{' and '.join(where)} at {site}"
        yield zero(name, {"site": site, "where": where}, field)


def _pairs() -> Iterator[Case]:
    """A query that lies before its key, or that the prompt does not have."""
    for query, key in [
        (0, 1),
        (len(PROMPTS[0]["token_ids"]["ids"]), 0),
        (-5, 0),
        (0, -5),
        (INT64_MAX, INT64_MAX),
        (INT64_MIN, INT64_MIN),
    ]:
        knockout = {"pairs": [{"query": str(query), "key": str(key)}]}
        intervention = {"place": {"path": "hook_attn_scores"}, "knockout": knockout}
        yield edit(f"knockout of ({query}, {key})", intervention, "knockout.pairs[0]")
