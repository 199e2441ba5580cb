"""The hook points of a served model, by the names that TransformerLens gives them.

The names come from the server, which lists for each site what it is called elsewhere. Of those of a
GPT-2 in TransformerLens these are not there: `hook_normalized`, which in its version 2 is the
LayerNorm's output after gain and bias and in versions 3 and 4 before them; `hook_attn_in`,
`hook_q_input`, `hook_k_input` and `hook_v_input`, which hold a copy of the residual stream for each
head.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator

from scalpel.info import ModelInfo
from scalpel.lens.config import HookedTransformerConfig

# Which hook points: all (None), one, several, or those of whose names a function is true.
NamesFilter = None | str | list[str] | Callable[[str], bool]

# A site whose shape is not that of TransformerLens, which repeats it for each head.
_OTHER_SHAPE = "ln1_in"
# Names that are there when the configuration says so.
_OPTIONAL = {"head_result": "use_attn_result", "ln2_in": "use_hook_mlp_in"}
_WHY_NOT = {
    "hook_normalized": "version 2 of TransformerLens has it after the LayerNorm's gain and bias, "
    "versions 3 and 4 before them; the site `ln1_out`, `ln2_out` or `ln_f_out` is after them",
    "hook_attn_in": "the site `ln1_in` is the same for all heads",
    "hook_q_input": "a head's queries are `hook_q`",
    "hook_k_input": "a head's keys are `hook_k`",
    "hook_v_input": "a head's values are `hook_v`",
}


@dataclasses.dataclass(frozen=True)
class Hook:
    """A hook point."""

    name: str
    """Such as `blocks.3.attn.hook_z`."""
    site: str
    """The site that it is, such as `z`."""
    layer: int | None
    """The block, or None outside of blocks."""
    axes: tuple[str, ...]
    """Its axes after the batch, of `position`, `head`, `query`, `key`, `unit`."""


class Hooks:
    """All hook points of a model, in order of computation."""

    def __init__(self, info: ModelInfo, cfg: HookedTransformerConfig):
        self._cfg = cfg
        self.all: dict[str, Hook] = {hook.name: hook for hook in _of(info)}

    def names(self) -> list[str]:
        """Those that `run_with_cache` keeps when it is not told which."""
        return [
            name
            for name, hook in self.all.items()
            if hook.site not in _OPTIONAL or getattr(self._cfg, _OPTIONAL[hook.site])
        ]

    def find(self, name: str) -> Hook:
        """A hook point by its full name. Raises KeyError, with what may have been meant."""
        if name in self.all:
            return self.all[name]
        why = _WHY_NOT.get(name.rpartition(".")[2])
        near = difflib.get_close_matches(name, self.all, n=3)
        hint = why or (f"did you mean {' or '.join(near)}?" if near else "see `hook_dict`")
        raise KeyError(f"no hook point {name!r} here: {hint}")

    def chosen(self, names_filter: NamesFilter) -> list[Hook]:
        """What a filter names. A name that there is not raises KeyError."""
        if names_filter is None:
            return [self.all[name] for name in self.names()]
        if callable(names_filter):
            return [self.all[name] for name in self.names() if names_filter(name)]
        several = [names_filter] if isinstance(names_filter, str) else list(names_filter)
        wanted = {self.find(name).name for name in several}
        return [hook for name, hook in self.all.items() if name in wanted]


def _of(info: ModelInfo) -> Iterator[Hook]:
    """Those before, in and after the blocks."""
    sites = [(site, _alias(site.aliases)) for site in info.sites.values()]
    known = [(site, alias) for site, alias in sites if alias and site.name != _OTHER_SHAPE]
    in_blocks = [(site, alias) for site, alias in known if site.per_layer]
    first = next((i for i, (site, _) in enumerate(known) if site.per_layer), len(known))
    for site, alias in known[:first]:
        yield Hook(alias, site.name, None, site.axes)
    for layer in range(info.config.n_layer):
        for site, alias in in_blocks:
            yield Hook(f"blocks.{layer}.{alias}", site.name, layer, site.axes)
    for site, alias in known[first:]:
        if not site.per_layer:
            yield Hook(alias, site.name, None, site.axes)


def _alias(aliases: tuple[str, ...]) -> str:
    return next((alias for alias in aliases if "hook_" in alias), "")


_ALIASES = {
    "attn": "pattern", "attn_logits": "attn_scores", "key": "k", "query": "q", "value": "v",
    "mlp_pre": "pre", "mlp_mid": "mid", "mlp_post": "post",
}  # fmt: skip
_PARTS = {"a": "attn", "m": "mlp", "b": "", "block": "", "blocks": "", "attention": "attn"}
_IN_ATTENTION = ("k", "v", "q", "z", "rot_k", "rot_q", "result", "pattern", "attn_scores")
_IN_MLP = ("pre", "post", "mid", "pre_linear")


def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """The full name of a hook point from its short one, as `transformer_lens.utils` has it.

    >>> get_act_name("k", 6)           # blocks.6.attn.hook_k
    >>> get_act_name("scale", 4, "ln1")  # blocks.4.ln1.hook_scale
    >>> get_act_name("pre5")           # blocks.5.mlp.hook_pre
    """
    is_full = "." in name or name.startswith("hook_")
    if is_full and layer is None and layer_type is None:
        return name
    if match := re.match(r"([a-z]+)(\d+)([a-z]?.*)", name):
        name, layer, layer_type = match[1], match[2], match[3]
    name = _ALIASES.get(name, name)
    if name in _IN_ATTENTION:
        part = "attn"
    elif name in _IN_MLP:
        part = "mlp"
    else:
        part = _PARTS.get(layer_type or "", layer_type or "")
    outside = "ln_final." if name in ("scale", "normalized") else ""
    block = outside if layer is None else f"blocks.{layer}."
    return f"{block}{part}{'.' if part else ''}hook_{name}"
