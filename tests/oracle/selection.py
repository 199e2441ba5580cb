"""Index lists as numpy and Python mean them: an order, and a negative number counts from the end of
the axis it is applied to."""

from typing import Any, ClassVar

import numpy as np

from tests.oracle.sites import Refused, Site
from tests.oracle.weights import Model


def width(site: Site, model: Model) -> int:
    """Length of the axis `unit`."""
    return {
        "d_model": model.d_model,
        "3 d_model": 3 * model.d_model,
        "d_head": model.d_head,
        "d_mlp": model.d_mlp,
        "vocab": model.vocab,
        "one": 1,
    }[site.width]


def indices(asked: Any, size: int, what: str, tokens: list[int] | None = None) -> list[int]:
    """An axis of `size`, as asked: None is all of it; a list goes in its own order; a dict is a
    range (`start`, `stop`, `step`) or, of positions, the `tokens` that they hold."""
    if asked is None:
        return list(range(size))
    if isinstance(asked, dict) and "tokens" in asked:
        found = [i for i, token in enumerate(tokens or []) if token in asked["tokens"]]
    elif isinstance(asked, dict):
        start, stop = asked.get("start", 0), asked.get("stop", size)
        start, stop = (end + size if end < 0 else end for end in (start, stop))
        if not 0 <= start <= size or not 0 <= stop <= size:
            raise Refused(f"{what}: a range past the end of {size}")
        found = list(range(start, stop, asked.get("step", 1)))
    else:
        if any(not -size <= i < size for i in asked):
            raise Refused(f"{what}: {asked} of {size}")
        found = [i + size if i < 0 else i for i in asked]
    if not found:
        raise Refused(f"{what}: none")
    if len(set(found)) < len(found):
        raise Refused(f"{what}: {asked} has one twice")
    return found


def past(part: list[list[int]]) -> np.ndarray:
    """Of [head, query, key], which entries a query may see, [query, key]."""
    return np.array(part[2])[None, :] <= np.array(part[1])[:, None]


class Place:
    """A site and the part of it that is meant, with the layers and prompts."""

    _OF_AXES: ClassVar = {
        "heads": ("head",),
        "units": ("unit",),
        "positions": ("position", "query"),
        "keys": ("key",),
    }

    def __init__(self, said: dict, site: Site, layer: int | None, model: Model, prompts: list):
        self.said, self.site, self.model, self.tokens = said, site, model, prompts
        for field, axes in self._OF_AXES.items():
            if said.get(field) is not None and not set(axes) & set(site.axes):
                raise Refused(f"{site.name} has no {field}")
        self.layers = self._layers(layer)
        self.prompts = indices(said.get("prompts"), len(prompts), "prompts")
        self.parts = {prompt: self.part(prompt) for prompt in self.prompts}
        if site.attention and not all(past(part).any() for part in self.parts.values()):
            raise Refused("every key lies after every query")

    def _layers(self, layer: int | None) -> list[int | None]:
        asked = self.said.get("layers")
        if layer is not None:
            if asked is not None:
                raise Refused("the layer is said twice")
            asked = [layer]
        if not self.site.layered:
            if asked is not None:
                raise Refused(f"{self.site.name} has no layers")
            return [None]
        return [*indices(asked, self.model.n_layer, "layers")]

    def part(self, prompt: int, **instead: Any) -> list[list[int]]:
        """For each axis the indices, in the order said, in a prompt. `instead`: other fields."""
        said = {field: self.said.get(field) for field in self._OF_AXES}
        said |= {field: value for field, value in instead.items() if value is not None}
        tokens = self.tokens[prompt]
        sizes = {
            "head": (said["heads"], self.model.n_head),
            "position": (said["positions"], len(tokens)),
            "query": (said["positions"], len(tokens)),
            "key": (said["keys"], len(tokens)),
        }
        if "unit" in self.site.axes:
            sizes["unit"] = (said["units"], width(self.site, self.model))
        return [indices(*sizes[axis], axis, tokens) for axis in self.site.axes]
