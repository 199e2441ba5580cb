"""Specs that have no meaning: each of these puts one mistake, of those that users make, into a spec
that has one. The oracle refuses it by its own reading, and so must the server."""

from collections.abc import Callable
from typing import Any

from tests.oracle import edits
from tests.oracle.selection import Place, width
from tests.oracle.sites import SITES, Refused, find
from tests.oracle.weights import Model


def is_faulty(model: Model, prompts: list[list[int]], edit: dict) -> bool:
    """Whether the oracle refuses an edit."""
    try:
        place = Place(edit, *find(edit["path"]), model, prompts)
        edits.check(edit, place)
        if edit["op"] == "patch":
            edits.source(edit, place)
    except Refused:
        return True
    return False


def _index_outside(make: Any, spec: dict) -> None:
    """One past the end, or one before the beginning."""
    field, size = make.choose(
        [
            ("heads", make.model.n_head),
            ("units", make.model.d_head),
            ("layers", make.model.n_layer),
            ("positions", max(len(tokens) for tokens in make.prompts)),
            ("prompts", len(make.prompts)),
        ]
    )
    spec["edits"].append({"op": "zero", "path": "k", field: [0, make.choose([size, -size - 1])]})


def _index_twice(make: Any, spec: dict) -> None:
    """Once from the beginning, once from the end."""
    field, size = make.choose(
        [
            ("heads", make.model.n_head),
            ("units", make.model.d_mlp),
            ("layers", make.model.n_layer),
            ("positions", len(make.prompts[0])),
        ]
    )
    path = "z" if field == "heads" else "mlp_post"
    index = make.whole(0, size - 1)
    spec["captures"].append({"path": path, field: [index, index - size], "prompts": [0]})


def _axis_that_is_not_there(make: Any, spec: dict) -> None:
    site, field = make.choose(
        [
            ("resid_post", {"heads": [0]}),
            ("mlp_post", {"keys": [0]}),
            ("pattern", {"units": [0]}),
            ("embed", {"layers": [0]}),
            ("logits", {"layers": [-1]}),
        ]
    )
    spec["edits"].append({"op": "zero", "path": site, **field})


def _operand_too_long(make: Any, spec: dict) -> None:
    site = SITES[make.choose(["resid_pre", "qkv", "z", "mlp_pre"])]
    values = make.numbers((width(site, make.model) + 1,))
    spec["edits"].append({"op": make.choose(["add", "set"]), "path": site.name, "value": values})


def _operand_of_the_wrong_side(make: Any, spec: dict) -> None:
    """[units, positions] for [positions, units]."""
    edit = {"path": "resid_mid", "positions": [0, -1], "units": [3, 2, 1]}
    spec["edits"].append({"op": "set", **edit, "value": make.numbers((3, 2))})


def _patch_of_another_size(make: Any, spec: dict) -> None:
    edit = {"op": "patch", "path": "resid_post", "prompts": [0], "positions": [0, 1]}
    spec["edits"].append({**edit, "source": {"clean": 0}, "from_positions": [0, 1, -1]})


def _patch_from_a_longer_prompt(make: Any, spec: dict) -> None:
    """All positions of one, for all positions of the other."""
    spec["prompts"].append([*make.prompts[0], 1])
    edit = {"op": "patch", "path": "attn.hook_pattern", "prompts": [0]}
    spec["edits"].append({**edit, "source": {"prompt": len(spec["prompts"]) - 1}})


def _patch_from_later_on(make: Any, spec: dict) -> None:
    edit = {"op": "patch", "path": "mlp_out", "layers": [2, 1], "from_layer": -3}
    spec["edits"].append({**edit, "source": {"clean": 0}, "prompts": [0]})


def _token_that_is_not_there(make: Any, spec: dict) -> None:
    missing = next(t for t in range(make.model.vocab) if t not in make.prompts[0])
    spec["probes"].append(
        {"path": "mlp.act:input", "positions": {"tokens": [missing]}, "statistics": ["mean"]}
    )


def _layer_twice(make: Any, spec: dict) -> None:
    spec["edits"].append({"op": "zero", "path": "transformer.h.3.mlp:output", "layers": [3]})


def _observed_only(make: Any, spec: dict) -> None:
    path = make.choose(
        ["ln1.hook_scale", "blocks.1.attn.hook_result", "ln_final.hook_scale", "lm_head:input"]
    )
    spec["edits"].append({"op": "zero", "path": path})


def _operation_elsewhere(make: Any, spec: dict) -> None:
    spec["edits"].append(
        make.choose(
            [
                {"op": "knockout", "path": "pattern"},
                {"op": "mean", "path": "attn_scores"},
                {"op": "project_out", "path": "pattern", "direction": [1.0, 2.0]},
            ]
        )
    )


def _key_after_its_query(make: Any, spec: dict) -> None:
    spec["edits"].append({"op": "knockout", "path": "attn_scores", "pairs": [(0, -1)]})


def _no_past(make: Any, spec: dict) -> None:
    """Every pair is of a query and its future."""
    place = {"path": make.choose(["attn_scores", "pattern"]), "positions": [0], "keys": [-1, 1]}
    if make.chance(0.5):
        spec["captures"].append(place)
    else:
        spec["edits"].append({"op": "zero", **place})


def _pairs_and_queries(make: Any, spec: dict) -> None:
    edit = {"op": "knockout", "path": "hook_attn_scores", "positions": [-1]}
    spec["edits"].append({**edit, "pairs": [(1, 0)]})


def _patch_of_itself(make: Any, spec: dict) -> None:
    """What is read is what is written."""
    edit = {"op": "patch", "path": "z", "prompts": [0], "source": {"prompt": 0}}
    mapped = {"positions": [2, 0], "from_positions": [2, 0]}
    spec["edits"].append(edit | make.choose([{}, mapped]))


def _patch_along_no_axis(make: Any, spec: dict) -> None:
    edit = {"op": "patch", "path": "mlp_out", "prompts": [0], "source": {"clean": 0}}
    spec["edits"].append(edit | make.choose([{"from_heads": [0]}, {"from_keys": [0]}]))


def _bounds_crossed(make: Any, spec: dict) -> None:
    spec["edits"].append({"op": "clamp", "path": "mlp_post", "min": 1.0, "max": 0.5})


def _direction(make: Any, spec: dict) -> None:
    """Too short, or of length 0."""
    length = make.choose([make.model.d_model - 1, make.model.d_model])
    spec["edits"].append({"op": "project_out", "path": "ln_2:output", "direction": [0.0] * length})


def _unknown_name(make: Any, spec: dict) -> None:
    """Before LayerNorm's gain there is no site, and layers count from 0."""
    path = make.choose(
        [
            "blocks.0.ln1.hook_normalized",
            f"transformer.h.{make.model.n_layer}.mlp.act:output",
            "transformer.h.0.ln_3:input",
            "transformer.mlp:output",
        ]
    )
    spec["captures"].append({"path": path})


def _statistic_elsewhere(make: Any, spec: dict) -> None:
    spec["probes"].append(
        make.choose(
            [
                {"path": "z", "statistics": ["entropy"]},
                {"path": "resid_post", "statistics": ["mean"], "keep": ["head"]},
                {"path": "attn_scores", "statistics": ["mean"], "keep": ["query"]},
                {"path": "resid_post", "quantiles": [1.5]},
                {"path": "z", "statistics": ["mean"], "keep": ["head", "head"]},
            ]
        )
    )


FAULTS: tuple[Callable[[Any, dict], None], ...] = (
    _index_outside,
    _index_twice,
    _axis_that_is_not_there,
    _operand_too_long,
    _operand_of_the_wrong_side,
    _patch_of_another_size,
    _patch_from_a_longer_prompt,
    _patch_from_later_on,
    _token_that_is_not_there,
    _layer_twice,
    _observed_only,
    _operation_elsewhere,
    _key_after_its_query,
    _no_past,
    _pairs_and_queries,
    _patch_of_itself,
    _patch_along_no_axis,
    _bounds_crossed,
    _direction,
    _unknown_name,
    _statistic_elsewhere,
)
