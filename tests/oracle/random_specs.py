"""Random specs in a user's terms: every name of every site, lists in any order and from either end,
ranges, token selections, prompts of unequal length, operands of every shape that numpy would take.
The same seed makes the same spec.

What an edit writes is kept to the size of what is there, so that float32's rounding is not blown up
beyond the tolerance: no huge factors, and none that leave a LayerNorm nothing but rounding.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracle import faults
from tests.oracle.choices import Choices
from tests.oracle.reads import STATISTICS, check
from tests.oracle.selection import Place, width
from tests.oracle.sites import SITES, Refused, Site, find, is_hook, is_module
from tests.oracle.weights import Model

OPERATIONS = (
    "zero",
    "scale",
    "add",
    "set",
    "noise",
    "clamp",
    "mean",
    "patch",
    "project_out",
    "knockout",
)


class Generator(Choices):
    """One spec in the making. `names`: all names by which sites can be called."""

    def __init__(self, model: Model, names: list[str], seed: int):
        super().__init__(np.random.default_rng([0x5CA1, seed]))
        self.model = model
        self.names: dict[str, list[str]] = {}
        for name in names:
            self.names.setdefault(find(name)[0].name, []).append(name)
        self.sites = [SITES[name] for name in self.names]
        self.writable = {
            site: [name for name in known if find(name)[0].editable]
            for site, known in self.names.items()
        }
        self.said: dict[str, str] = {}  # Paths, and the names that they were made of.
        self.prompts = self._prompts()

    def _prompts(self) -> list[list[int]]:
        """Few different tokens in half of them, so that a token is found at several positions."""
        prompts = []
        for _ in range(self.whole(1, 3)):
            length = self.whole(3, 12)
            some = self.rng.integers(0, self.model.vocab, size=4 if self.chance(0.5) else length)
            prompts.append(self.rng.choice(some, size=length).tolist())
        if len(prompts) > 1 and self.chance(0.3):
            prompts[1] = prompts[1][: len(prompts[0])]
            prompts[0] = prompts[0][: len(prompts[1])]
        return prompts

    # ---- where

    def evenly(self, size: int) -> dict:
        """A range, its ends from either end."""
        start = self.whole(0, size - 1)
        stop = self.whole(start + 1, size)
        found = {}
        if self.chance(0.7):
            found["start"] = start - size if self.chance(0.4) else start
        if self.chance(0.6):
            found["stop"] = stop - size if stop < size and self.chance(0.5) else stop
        if self.chance(0.4):
            found["step"] = self.whole(1, 4)
        return found

    def positions(self, prompts: list[int]) -> Any:
        """Of a length that each of the prompts has. In a longer one, two ends may meet: then the
        caller tries again."""
        tokens = [self.prompts[prompt] for prompt in prompts]
        if self.chance(0.25):
            return {"tokens": sorted({self.choose(ids) for ids in tokens})}
        size = min(len(ids) for ids in tokens)
        return self.evenly(size) if self.chance(0.3) else self.some(size)

    def spelling(self, site: Site, name: str, layer: int | None) -> str:
        """The name, or a whole path to one layer, as the libraries' users write them."""
        if layer is not None and is_hook(name):
            return f"blocks.{layer}.{name}"
        if not is_module(name):
            return name
        if layer is not None:
            block = self.choose([f"transformer.h.{layer}", f"transformer.h[{layer}]"])
            name = block + ("" if name.startswith(":") else ".") + name
        if layer is not None or not site.layered:
            name = self.choose(["", "", "model."]) + name
            if self.chance(0.3):
                name = name.replace(":", ".")
        return name

    def place(self, names: list[str], prompts: list[int] | None = None) -> dict:
        """A random part of a site, not empty in any of the prompts, by one of its names."""
        while True:
            said = self._place(self.choose(names), prompts)
            if not _refuses(self.resolve, said):
                return said

    def _place(self, name: str, prompts: list[int] | None) -> dict:
        site, narrow = find(name)[0], 0.5
        said: dict[str, Any] = {}
        if prompts is None and self.chance(narrow / 2):
            prompts = self.some(len(self.prompts))
        if prompts is not None:
            said["prompts"] = prompts
        selected = [p % len(self.prompts) for p in said.get("prompts", range(len(self.prompts)))]
        layer = None
        if site.layered and self.chance(0.85):
            count = min(self.choose([1, 1, 1, 2, 3]), self.model.n_layer)
            layers = self.some(self.model.n_layer, count)
            if len(layers) == 1 and self.chance(0.7):
                layer = layers[0] % self.model.n_layer
            else:
                said["layers"] = layers
        said["path"] = self.spelling(site, name, layer)
        self.said[said["path"]] = name
        if find(said["path"])[1] != layer:
            said["layers"] = [layer]
        if "head" in site.axes and self.chance(narrow):
            said["heads"] = self.some(self.model.n_head)
        if "unit" in site.axes and self.chance(narrow):
            size = width(site, self.model)
            said["units"] = self.evenly(size) if self.chance(0.3) else self.some(size)
        if self.chance(narrow):
            said["positions"] = self.positions(selected)
        if "key" in site.axes and self.chance(narrow):
            said["keys"] = self.positions(selected)
        return said

    def resolve(self, said: dict) -> Place:
        return Place(said, *find(said["path"]), self.model, self.prompts)

    # ---- edits

    def edit(self, site: Site | None = None, operation: str | None = None) -> dict:
        site = site or self.choose([site for site in self.sites if site.editable])
        operation = operation or self.choose(
            [name for name in OPERATIONS if _has_meaning(name, site)]
        )
        if operation == "patch":
            return self._patch(site)
        said = self.place(self.writable[site.name])
        make: Callable[[Site, Place], dict] = getattr(self, "_" + operation)
        return {"op": operation, **said, **make(site, self.resolve(said))}

    def _zero(self, site: Site, place: Place) -> dict:
        return {}

    def _scale(self, site: Site, place: Place) -> dict:
        # Minus infinity, of a score that was knocked out, keeps its sign.
        return {"factor": self.number(0.3 if site.name == "attn_scores" else -1.5, 2)}

    def _add(self, site: Site, place: Place) -> dict:
        found = {"value": self._operand(place)}
        if self.chance(0.5):
            found["coefficient"] = self.number(-2, 2)
        return found

    def _set(self, site: Site, place: Place) -> dict:
        return {"value": self._operand(place)}

    def _operand(self, place: Place) -> Any:
        """A number, or an array that numpy broadcasts to the part in every prompt: of its shape, 1
        along some axes, without leading axes, or with more of length 1."""
        if self.chance(0.2):
            return self.number(-2, 2)
        shapes = [[len(asked) for asked in part] for part in place.parts.values()]
        shape = [
            sizes[0] if len(set(sizes)) == 1 and self.chance(0.8) else 1
            for sizes in zip(*shapes, strict=True)
        ]
        shape = shape[self.choose([0, 0, 1, len(shape) - 1]) :]
        if len(shape) == len(place.site.axes) and self.chance(0.2):
            shape = [1, *shape]
        return self.numbers(tuple(shape))

    def _noise(self, site: Site, place: Place) -> dict:
        found: dict[str, Any] = {}
        if self.chance(0.5):
            found["mean"] = self.number(-1, 1)
        if self.chance(0.5):
            found["std"] = self.number(0.1, 1.5)
        if self.chance(0.6):
            found["mode"] = self.choose(["add", "replace"])
        if self.chance(0.4):
            found["seed"] = int(self.rng.integers(0, 2**64, dtype=np.uint64))
        return found

    def _clamp(self, site: Site, place: Place) -> dict:
        """Wide where a LayerNorm reads: what is left must differ by more than rounding did."""
        if site.name == "pattern":
            both = {"min": self.number(0.05, 0.2), "max": self.number(0.25, 0.5)}
        elif site.width == "d_model":
            both = {"min": self.number(-4, -1), "max": self.number(1, 4)}
        else:
            both = {"min": self.number(-1, 0), "max": self.number(0.1, 1)}
        return {name: both[name] for name in self.choose([["min"], ["max"], ["min", "max"]])}

    def _mean(self, site: Site, place: Place) -> dict:
        while True:
            found = {"over": self.positions(place.prompts)} if self.chance(0.6) else {}
            if not _refuses(self._check_over, found, place):
                return found

    def _check_over(self, found: dict, place: Place) -> None:
        self.resolve({"path": "embed", "positions": found.get("over"), "prompts": place.prompts})

    def _project_out(self, site: Site, place: Place) -> dict:
        """Along one unit alone a value is its own component: what is left of it is rounding."""
        size = len(next(iter(place.parts.values()))[-1])
        found: dict[str, Any] = {"direction": self.numbers((size,))}
        if size == 1:
            found["factor"] = 0.5
        elif self.chance(0.5):
            found["factor"] = self.number(-1, 2)
        return found

    def _knockout(self, site: Site, place: Place) -> dict:
        if self.chance(0.5):
            return {}
        length = min(len(self.prompts[prompt]) for prompt in place.prompts)
        pairs = set()
        for _ in range(self.whole(1, 4)):
            query = self.whole(0, length - 1)
            pairs.add((query, self.whole(0, query)))
        if len({len(self.prompts[prompt]) for prompt in place.prompts}) == 1 and self.chance(0.5):
            pairs = {(query - length, key - length) for query, key in pairs}
        return {"pairs": sorted(pairs), "positions": None, "keys": None}

    def _patch(self, site: Site) -> dict:
        """From another prompt, or from a clean run; what is read is what is written, or another
        part with as many entries."""
        while True:
            source = self.whole(0, len(self.prompts) - 1)
            others = [prompt for prompt in range(len(self.prompts)) if prompt != source]
            clean = not others or self.chance(0.4)
            prompts = [self.choose(others if others and not clean else range(len(self.prompts)))]
            if not clean and self.chance(0.1):
                prompts = [source]  # From the prompt itself, at other positions.
            if self.chance(0.2):  # Into several, which may be among what is read.
                prompts = self.some(len(self.prompts), len(self.prompts))
            said = self.place(self.writable[site.name], prompts)
            edit = {"op": "patch", **said, "source": {"clean" if clean else "prompt": source}}
            self._map(edit, self.resolve(said), source)
            if not faults.is_faulty(self.model, self.prompts, edit):
                return edit

    def _map(self, edit: dict, place: Place, source: int) -> None:
        site, part = place.site, next(iter(place.parts.values()))
        length = len(self.prompts[source])
        for axis, field in ((site.position_axis, "from_positions"), (-1, "from_keys")):
            if field == "from_keys" and not site.attention:
                continue
            count = len(part[axis])
            if count <= length and self.chance(0.4):
                edit[field] = self.some(length, count)
            elif not self.chance(0.8):
                continue
            elif len(part[axis]) > length or len({len(p[axis]) for p in place.parts.values()}) > 1:
                shortest = min(length, *(len(place.tokens[prompt]) for prompt in place.prompts))
                edit["keys" if field == "from_keys" else "positions"] = self.some(shortest)
        if "head" in site.axes and self.chance(0.3):
            heads = part[site.axes.index("head")]
            edit["from_heads"] = self.some(self.model.n_head, len(heads))
        if site.layered and self.chance(0.3):
            layer = self.whole(0, min(layer for layer in place.layers if layer is not None))
            edit["from_layer"] = layer - self.model.n_layer if self.chance(0.3) else layer

    # ---- reads

    def look(self, edits: list[dict]) -> dict:
        """A place: where an edit is, or anywhere."""
        if edits and self.chance(0.5):
            fields = ("path", "layers", "heads", "units", "positions", "keys", "prompts")
            edit = self.choose(edits)
            said = {field: edit[field] for field in fields if edit.get(field) is not None}
        else:
            said = self.place(self.names[self.choose(self.sites).name])
        if self.chance(0.6):
            said["moment"] = self.choose(["before", "after"])
        return said

    def capture(self, edits: list[dict]) -> dict:
        said = self.look(edits)
        if self.chance(0.15):
            said["dtype"] = self.choose(["float16", "bfloat16"])
        return said

    def probe(self, edits: list[dict]) -> dict:
        said = self.look(edits)
        site = find(said["path"])[0]
        axes = ["head"] if site.name == "attn_scores" else list(site.axes)
        if self.chance(0.6):
            count = self.whole(1, len(axes))
            said["keep"] = self.rng.choice(axes, size=count, replace=False).tolist()
        names = [
            name for name in STATISTICS if not _refuses(check, {**said, "statistics": [name]}, site)
        ]
        said["statistics"] = self.rng.choice(
            names, size=self.whole(1, min(4, len(names))), replace=False
        ).tolist()
        if self.chance(0.3):
            said["quantiles"] = sorted({self.number(0, 1), self.choose([0.0, 0.5, 1.0])})
        if self.chance(0.3):
            low = self.number(-2, 0)
            said["histogram"] = {"bins": self.whole(1, 6), "min": low, "max": low + 3}
        return said

    def logits(self) -> dict:
        found: dict[str, Any] = {}
        if self.chance(0.7):
            found["positions"] = self.positions(list(range(len(self.prompts))))
        form = self.choose(["full", "full", "top_k", "ids"])
        if form == "ids":
            found["ids"] = self.rng.choice(self.model.vocab, size=3, replace=False).tolist()
        else:
            found[form] = True if form == "full" else self.whole(1, 12)
        return found

    # ---- the whole

    def spec(self, faulty: float = 0.0) -> dict:
        """`faulty`: how likely it is to have no meaning."""
        spec: dict[str, Any] = {"prompts": self.prompts}
        if self.chance(0.7):
            spec["seed"] = int(self.rng.integers(0, 2**64, dtype=np.uint64))
        edits = spec["edits"] = [self.edit() for _ in range(self.whole(1, 4))]
        if len(edits) > 1 and self.chance(0.3):
            self._meet(edits)
        spec["captures"] = [self.capture(edits) for _ in range(self.whole(1, 3))]
        spec["probes"] = [self.probe(edits) for _ in range(self.whole(0, 3))]
        if self.chance(0.2):
            spec["include_clean_run"] = True
        if self.chance(0.1):
            spec["block_outputs"] = self.some(self.model.n_layer)
            spec["attentions"] = self.chance(0.5)
        if self.chance(0.1):
            spec["hidden_states"] = True
        if self.chance(0.9):
            spec["logits"] = self.logits()
            while _refuses(self._check_positions, spec["logits"]):
                spec["logits"] = self.logits()
        if self.chance(faulty):
            self.choose(faults.FAULTS)(self, spec)
        return spec

    def names_of(self, places: list[dict]) -> set[str]:
        """The names that were chosen for these edits or reads."""
        return {self.said[place["path"]] for place in places if place["path"] in self.said}

    def _check_positions(self, logits: dict) -> None:
        self.resolve({"path": "embed", "positions": logits.get("positions")})

    def _meet(self, edits: list[dict]) -> None:
        """A second edit at the very place of the first, or at another view of its storage."""
        site = find(edits[0]["path"])[0]
        if site.point == "qkv":
            site = SITES[self.choose(["qkv", "q", "k", "v"])]
        edit = self.edit(site)
        if find(edit["path"])[1] is None and site.layered:
            edit["layers"] = self.resolve(edits[0]).layers
        if edit["op"] != "patch" or not faults.is_faulty(self.model, self.prompts, edit):
            edits.append(edit)


def _has_meaning(operation: str, site: Site) -> bool:
    match operation:
        case "knockout":
            return site.name == "attn_scores"
        case "mean":
            return site.name != "attn_scores"
        case "project_out":
            return not site.attention
    return True


def _refuses(check_something: Callable[..., Any], *arguments: Any) -> bool:
    try:
        check_something(*arguments)
    except Refused:
        return True
    return False
