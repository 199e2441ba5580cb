"""Each operation, as numpy's indexing says it: `x[np.ix_(*part)] = v`, with the index lists that
the user wrote."""

import dataclasses
from typing import Any

import numpy as np

from tests.oracle import noise
from tests.oracle.selection import Place, indices, past, width
from tests.oracle.sites import Refused


@dataclasses.dataclass
class Context:
    """Where an edit is applied: which edit of the request, and which prompt and layer."""

    index: int
    place: Place
    layer: int | None
    prompt: int
    seed: int
    source: np.ndarray | None  # What a patch read.

    @property
    def tokens(self) -> list[int]:
        return self.place.tokens[self.prompt]

    @property
    def part(self) -> list[list[int]]:
        return self.place.parts[self.prompt]


def read(x: np.ndarray, part: list[list[int]]) -> np.ndarray:
    return x[np.ix_(*part)].copy()


@dataclasses.dataclass
class Change:
    """What an edit did at one layer in one prompt."""

    before: np.ndarray
    after: np.ndarray  # Both flat, of the entries that could change.


def apply(edit: dict, x: np.ndarray, at: Context) -> Change:
    """Changes x, a whole tensor of one prompt, in place."""
    index = np.ix_(*at.part)
    before = x[index].copy()
    after = _OPERATIONS[edit["op"]](edit, before, x, at)
    changes = np.ones(before.shape, bool)
    if at.place.site.attention:
        changes[...] = past(at.part)
    if edit["op"] == "knockout":
        changes &= _knocked_out(edit, at)
    x[index] = np.where(changes, after, before)
    return Change(before[changes], x[index][changes])


def operand(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What the assignment `x[...] = value` writes, as numpy broadcasts it."""
    written = np.empty(shape)
    try:
        written[...] = np.asarray(value, np.float32)
    except ValueError as error:
        raise Refused(str(error)) from None
    return written


def _zero(edit, before, x, at):
    return np.zeros_like(before)


def _scale(edit, before, x, at):
    return edit["factor"] * before


def _add(edit, before, x, at):
    return before + edit.get("coefficient", 1) * operand(edit["value"], before.shape)


def _set(edit, before, x, at):
    return operand(edit["value"], before.shape)


def _noise(edit, before, x, at):
    site, model = at.place.site, at.place.model
    indices_of = np.meshgrid(*at.part, indexing="ij")
    inner = len(at.tokens) if site.attention else width(site, model)
    elements = indices_of[-1]
    if "head" in site.axes:
        elements = elements + inner * indices_of[site.axes.index("head")]
    normals = noise.standard_normals(
        elements,
        indices_of[site.position_axis],
        edit.get("seed", at.seed),
        at.index,
        at.layer,
        at.prompt,
    )
    drawn = edit.get("mean", 0) + edit.get("std", 1) * normals
    return before + drawn if edit.get("mode") == "add" else drawn


def _clamp(edit, before, x, at):
    return np.minimum(np.maximum(before, edit.get("min", -np.inf)), edit.get("max", np.inf))


def _mean(edit, before, x, at):
    axis = at.place.site.position_axis
    over = indices(edit.get("over"), len(at.tokens), "over", at.tokens)
    part = [over if i == axis else asked for i, asked in enumerate(at.part)]
    return np.broadcast_to(x[np.ix_(*part)].mean(axis=axis, keepdims=True), before.shape)


def _patch(edit, before, x, at):
    return at.source


def _project_out(edit, before, x, at):
    direction = np.asarray(edit["direction"], np.float32).astype(np.float64)
    unit = direction / np.linalg.norm(direction)
    along = (before @ unit)[..., None] * unit
    return before + (edit.get("factor", 0) - 1) * along


def _knockout(edit, before, x, at):
    return np.full_like(before, -np.inf)


def _knocked_out(edit: dict, at: Context) -> np.ndarray:
    """Which entries of [head, query, key] are among the pairs."""
    if edit.get("pairs") is None:
        return np.array(True)
    return np.isin(
        np.array(at.part[1])[:, None] * len(at.tokens) + np.array(at.part[2])[None, :],
        [query * len(at.tokens) + key for query, key in pairs(edit, len(at.tokens))],
    )


def pairs(edit: dict, length: int) -> list[tuple[int, int]]:
    """Pairs of (query, key), each from the prompt's start."""
    found = []
    for pair in edit["pairs"]:
        query, key = (indices([i], length, "pair")[0] for i in pair)
        if key > query:
            raise Refused(f"query {query} never sees key {key}")
        found.append((query, key))
    return found


_OPERATIONS = {
    "zero": _zero,
    "scale": _scale,
    "add": _add,
    "set": _set,
    "noise": _noise,
    "clamp": _clamp,
    "mean": _mean,
    "patch": _patch,
    "project_out": _project_out,
    "knockout": _knockout,
}


def check(edit: dict, place: Place) -> None:
    """Refuses an edit that has no meaning at its place, whatever the values there are."""
    operation, site = edit["op"], place.site
    if not site.editable:
        raise Refused(f"{site.name} can only be observed")
    if operation == "knockout" and site.name != "attn_scores":
        raise Refused("a knockout is of scores")
    if operation == "mean" and site.name == "attn_scores":
        raise Refused("scores have no mean over positions")
    if operation == "project_out" and site.attention:
        raise Refused("a pair of positions has no units")
    if operation == "clamp" and edit.get("min", -np.inf) > edit.get("max", np.inf):
        raise Refused("no number is within these bounds")
    if operation == "noise" and edit.get("std", 1) < 0:
        raise Refused("a standard deviation below 0")
    for prompt in place.prompts:
        _check_in_prompt(edit, place, prompt)


def _check_in_prompt(edit: dict, place: Place, prompt: int) -> None:
    shape = tuple(len(asked) for asked in place.parts[prompt])
    tokens = place.tokens[prompt]
    if edit["op"] in ("add", "set"):
        operand(edit["value"], shape)
    if edit["op"] == "project_out":
        if np.shape(edit["direction"]) != shape[-1:]:
            raise Refused("the direction is not as long as the units are many")
        if not np.any(edit["direction"]):
            raise Refused("a direction of length 0")
    if edit["op"] == "mean":
        indices(edit.get("over"), len(tokens), "over", tokens)
    if edit["op"] == "knockout" and edit.get("pairs") is not None:
        if edit.get("positions") is not None or edit.get("keys") is not None:
            raise Refused("pairs, or queries and keys: not both")
        pairs(edit, len(tokens))


@dataclasses.dataclass
class Source:
    """What a patch reads: a prompt, or its clean run, and the part for each target prompt."""

    prompt: int
    clean: bool
    layer: int | None  # None: the layer that is written.
    part: list[list[int]]


def source(edit: dict, place: Place) -> Source:
    """Where a patch reads. Index lists that it does not give are those of the place, resolved again
    in the source."""
    for field, axis in (("from_heads", "head"), ("from_keys", "key")):
        if edit.get(field) is not None and axis not in place.site.axes:
            raise Refused(f"{place.site.name} has no {axis}")
    clean = "clean" in edit["source"]
    prompt = edit["source"]["clean" if clean else "prompt"]
    if not 0 <= prompt < len(place.tokens):
        raise Refused(f"there is no prompt {prompt}")
    part = place.part(
        prompt,
        heads=edit.get("from_heads"),
        positions=edit.get("from_positions"),
        keys=edit.get("from_keys"),
    )
    counts = [len(asked) for asked in part]
    for target in place.prompts:
        if counts != [len(asked) for asked in place.parts[target]]:
            raise Refused(f"the source has {counts} of prompt {target}'s part")
    layer = edit.get("from_layer")
    if layer is not None:
        if not place.site.layered:
            raise Refused(f"{place.site.name} has no layers")
        (layer,) = indices([layer], place.model.n_layer, "from_layer")
        if any(written is not None and layer > written for written in place.layers):
            raise Refused("what comes later is not known yet")
    if not clean and place.parts.get(prompt) == part and layer in (None, *place.layers):
        raise Refused("what is read is what would be written")
    return Source(prompt, clean, layer, part)
