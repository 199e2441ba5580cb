"""A whole spec, answered: every prompt, and every clean run that something needs, goes through the
forward pass in step with the others, so that a patch finds its source at the same site.

A spec is plain data in the user's terms; `tests/oracle/README.md` lists its fields.
"""

import collections
import dataclasses
from typing import Any

import numpy as np

from tests.oracle import edits, reads
from tests.oracle.forward import Forward, forward, views
from tests.oracle.selection import Place, indices
from tests.oracle.sites import Refused, find
from tests.oracle.weights import Model

Answer = dict[tuple, Any]

# Of activations, relative to the largest absolute value of the whole tensor in that prompt: what
# float32 may make of twelve layers. Ordinary differences are a tenth of it.
TOLERANCE = 2e-5


@dataclasses.dataclass
class Row:
    """One prompt on its way through the model, edited or clean."""

    prompt: int
    clean: bool
    steps: Forward
    value: np.ndarray
    kept: dict[tuple, np.ndarray] = dataclasses.field(default_factory=dict)
    scales: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[int, bool]:
        return self.prompt, self.clean


class Interpretation:
    """One spec with one model. Raises Refused where the spec has no meaning."""

    def __init__(self, model: Model, spec: dict):
        self.model, self.spec = model, spec
        self.prompts: list[list[int]] = spec["prompts"]
        self.wanted: dict[tuple, list] = collections.defaultdict(list)  # (point, layer) -> reads
        self.steps: dict[tuple, list] = collections.defaultdict(list)  # (point, layer) -> edits
        self.needs_clean: set[int] = set()
        if spec.get("include_clean_run"):
            self.needs_clean = set(range(len(self.prompts)))
        self.edits = [self._edit(i, edit) for i, edit in enumerate(spec.get("edits", []))]
        self.changes: list[list[edits.Change]] = [[] for _ in self.edits]
        self.change_scales = [0.0 for _ in self.edits]
        for kind in ("captures", "probes"):
            for index, asked in enumerate(spec.get(kind, [])):
                self._read(kind, index, asked)
        self._whole_outputs()
        self._logit_positions()
        self.found: Answer = {}
        # What was seen, to be measured when the clean runs are known too.
        self.seen: list[tuple] = []

    # ---- what the spec says

    def _place(self, said: dict) -> Place:
        site, layer = find(said["path"])
        return Place(said, site, layer, self.model, self.prompts)

    def _edit(self, index: int, edit: dict) -> tuple[dict, Place, edits.Source | None]:
        place = self._place(edit)
        edits.check(edit, place)
        source = None
        if edit["op"] == "patch":
            source = edits.source(edit, place)
            if source.clean:
                self.needs_clean.add(source.prompt)
            if source.layer is not None:
                self.wanted[place.site.point, source.layer].append(("keep", index, place))
        for layer in place.layers:
            self.steps[place.site.point, layer].append(index)
        return edit, place, source

    def _read(self, kind: str, index: int, asked: dict) -> None:
        place = self._place(asked)
        if kind == "probes":
            reads.check(asked, place.site)
            if set(asked.get("statistics", [])) & set(reads.AGAINST_CLEAN):
                self.needs_clean |= set(place.prompts)
        for layer in place.layers:
            self.wanted[place.site.point, layer].append((kind, index, place))

    def _whole_outputs(self) -> None:
        layers = range(self.model.n_layer)
        tuples = self.spec.get("block_outputs")
        if tuples is not None or self.spec.get("attentions"):
            tuples = indices(tuples or None, len(layers), "block_outputs")
        for layer in tuples or []:
            self.wanted["resid_post", layer].append(("block", 0, None))
            if self.spec.get("attentions"):
                self.wanted["pattern", layer].append(("block", 1, None))
        if self.spec.get("hidden_states"):
            self.wanted["resid_pre", 0].append(("hidden", 0, None))
            for layer in layers[:-1]:
                self.wanted["resid_post", layer].append(("hidden", layer + 1, None))
            self.wanted["ln_f_out", None].append(("hidden", len(layers), None))

    def _logit_positions(self) -> None:
        asked = self.spec.get("logits", {})
        self.positions = [
            indices(asked.get("positions", [-1]), len(tokens), "logits", tokens)
            for tokens in self.prompts
        ]
        if any(not 0 <= token < self.model.vocab for token in asked.get("ids", [])):
            raise Refused("a token that there is not")
        self.wanted["logits", None].append(("logits", 0, None))

    # ---- running

    def answer(self) -> Answer:
        rows = [self._row(prompt, False) for prompt in range(len(self.prompts))]
        rows += [self._row(prompt, True) for prompt in sorted(self.needs_clean)]
        self.rows = {row.key: row for row in rows}
        at: list[Any] = [next(row.steps) for row in rows]
        while at[0] is not None:
            point, layer, _ = at[0]
            for row, (_, _, value) in zip(rows, at, strict=True):
                row.value = value
            if (point, layer) in self.wanted or (point, layer) in self.steps:
                self._visit(point, layer)
            at = [_go_on(row) for row in rows]
        self._measure()
        for index in range(len(self.edits)):
            self._report(index)
        return self.found

    def _row(self, prompt: int, clean: bool) -> Row:
        steps = forward(self.model, self.prompts[prompt])
        return Row(prompt, clean, steps, np.empty(0))

    def _views(self, row: Row, point: str) -> dict[str, np.ndarray]:
        return views(self.model, row.value) if point == "qkv" else {point: row.value}

    def _visit(self, point: str, layer: int | None) -> None:
        for row in self.rows.values():
            row.scales = {name: _largest(x) for name, x in self._views(row, point).items()}
            row.value = row.value.copy()
        self._look(point, layer, "before")
        for index in self.steps.get((point, layer), []):
            self._apply(index, point, layer)
        for row in self.rows.values():
            for name, x in self._views(row, point).items():
                row.scales[name] = max(row.scales[name], _largest(x))
        self._look(point, layer, "after")

    def _apply(self, index: int, point: str, layer: int | None) -> None:
        """Reads for all prompts before it writes any."""
        edit, place, source = self.edits[index]
        name, block = place.site.name, None
        if source is not None:
            row = self.rows[source.prompt, source.clean]
            if source.layer in (None, layer):
                whole = self._views(row, point)[name]
            else:
                whole = row.kept[name, source.layer]
            block = edits.read(whole, source.part)
        seed = self.spec.get("seed", 0)
        for prompt in place.prompts:
            row = self.rows[prompt, False]
            context = edits.Context(index, place, layer, prompt, seed, block)
            x = self._views(row, point)[name]
            self.changes[index].append(edits.apply(edit, x, context))
            # A patch brings the error of where it read; a large value leaves its own behind.
            row.scales[name] = max(row.scales[name], _largest(x))
            self.change_scales[index] = max(self.change_scales[index], row.scales[name])

    def _look(self, point: str, layer: int | None, moment: str) -> None:
        for kind, index, place in self.wanted.get((point, layer), []):
            for row in self.rows.values():
                if kind in ("captures", "probes"):
                    asked = self.spec[kind][index]
                    if asked.get("moment", "after") == moment and row.prompt in place.prompts:
                        x = self._views(row, point)[place.site.name]
                        block = edits.read(x, place.parts[row.prompt])
                        scale = row.scales[place.site.name]
                        self.seen.append((kind, index, place, layer, row.key, block, scale))
                elif kind == "keep" and moment == "after":
                    name = place.site.name
                    row.kept[name, layer] = self._views(row, point)[name].copy()
                # hidden_states[0] is what enters the model, before an edit at the first block.
                elif (kind == "hidden" and index == 0) == (moment == "before"):
                    self._put_whole(kind, index, layer, row)

    # ---- what comes back

    def _comes_back(self, clean: bool) -> bool:
        return not clean or bool(self.spec.get("include_clean_run"))

    def _put_whole(self, kind: str, index: int, layer: int | None, row: Row) -> None:
        if kind == "keep" or not self._comes_back(row.clean):
            return
        value, scale = row.value.copy(), max(row.scales.values())
        error = TOLERANCE * scale
        if kind == "logits":
            self._put_logits(row, value, scale)
        elif kind == "hidden":
            self.found["hidden", index, *row.key] = reads.Item(value, error, "resid_post", scale)
        else:
            site = ("resid_post", "pattern")[index]
            key = ("block", layer, index, *row.key)
            self.found[key] = reads.Item(value, error, site, scale)

    def _put_logits(self, row: Row, value: np.ndarray, scale: float) -> None:
        asked = self.spec.get("logits", {"top_k": 10})
        positions = self.positions[row.prompt]
        block = value[positions]
        item = reads.Item(block, TOLERANCE * scale, "logits", scale)
        item.axes = [("position", positions), ("unit", list(range(self.model.vocab)))]
        if asked.get("full"):
            self.found["logits", *row.key] = item
        elif not asked.get("none"):
            self.found["tokens", *row.key] = item

    def _measure(self) -> None:
        """Of clean runs too, where they are asked for: a clean run against itself."""
        clean_runs = {(entry[:2], *entry[3:5]): entry[5:] for entry in self.seen if entry[4][1]}
        for kind, index, place, layer, key, block, scale in self.seen:
            if not self._comes_back(key[1]):
                continue
            site, part, asked = place.site, place.parts[key[0]], self.spec[kind][index]
            error = TOLERANCE * scale
            if kind == "captures":
                error = error + reads.rounding(asked.get("dtype", "float32"), block)
                item = reads.Item(
                    block, error, site.name, scale, list(zip(site.axes, part, strict=True))
                )
                item.rounded = "dtype" in asked
                self.found["capture", index, layer, *key] = item
            else:
                of_clean = ((kind, index), layer, (key[0], True))
                clean, clean_scale = clean_runs.get(of_clean, (None, 0.0))
                error = max(error, TOLERANCE * clean_scale)
                found = reads.probe(asked, site, part, block, clean, error, scale)
                self.found["probe", index, layer, *key] = found

    def _report(self, index: int) -> None:
        changes = self.changes[index]
        with np.errstate(invalid="ignore"):
            moves = [np.abs(change.after - change.before) for change in changes]
        moved = np.concatenate([move[np.isfinite(move)] for move in moves])
        error = 2 * TOLERANCE * self.change_scales[index]
        self.found["report", index] = {
            "sites": len(changes),
            "selected": sum(change.before.size for change in changes),
            "changed at least": int((moved > error).sum()),
            "largest change": reads.Item(
                np.array(moved.max(initial=0)),
                error,
                self.edits[index][1].site.name,
                self.change_scales[index] or 1.0,
            ),
        }


def _go_on(row: Row) -> Any:
    try:
        return row.steps.send(row.value)
    except StopIteration:
        return None


def _largest(x: np.ndarray) -> float:
    """The largest finite absolute value."""
    return float(np.abs(x[np.isfinite(x)]).max(initial=0.0))


def answer(model: Model, spec: dict) -> Answer:
    """What the spec comes to. Raises Refused."""
    return Interpretation(model, spec).answer()
