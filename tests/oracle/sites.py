"""What each name means: a table of the oracle's own, from the module tree of HuggingFace's GPT-2
and from TransformerLens' hook points, with a parser of paths.

A module path means what a forward hook (`:output`) or forward pre-hook (`:input`) registered at
that very module sees and changes. So `ln_1:input` is what the LayerNorm sees and nothing else sees,
while `:input` of the block is the residual stream itself, which LayerNorm and the residual
connection both read.
"""

import dataclasses
import re


class Refused(Exception):
    """The spec has no meaning; says why."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A tensor of the forward pass of one prompt. `width` names the length of the axis `unit`."""

    name: str
    axes: tuple[str, ...]
    width: str
    layered: bool = True
    editable: bool = True

    @property
    def attention(self) -> bool:
        """Whether it is [head, query, key]: there only key <= query can be changed."""
        return "key" in self.axes

    @property
    def point(self) -> str:
        """Where the forward pass has it: queries, keys and values lie in the fused projection."""
        return "qkv" if self.name in ("q", "k", "v") else self.name

    @property
    def position_axis(self) -> int:
        return self.axes.index("query" if self.attention else "position")


_FLAT, _HEADS, _PAIRS = ("position", "unit"), ("position", "head", "unit"), ("head", "query", "key")

# In order of computation.
SITES = {
    site.name: site
    for site in (
        Site("embed", _FLAT, "d_model", layered=False),
        Site("pos_embed", _FLAT, "d_model", layered=False),
        Site("resid_pre", _FLAT, "d_model"),
        Site("ln1_in", _FLAT, "d_model"),
        Site("ln1_scale", _FLAT, "one", editable=False),
        Site("ln1_out", _FLAT, "d_model"),
        Site("qkv", _FLAT, "3 d_model"),
        Site("q", _HEADS, "d_head"),
        Site("k", _HEADS, "d_head"),
        Site("v", _HEADS, "d_head"),
        Site("attn_scores", _PAIRS, ""),
        Site("pattern", _PAIRS, ""),
        Site("z", _HEADS, "d_head"),
        Site("head_result", _HEADS, "d_model", editable=False),
        Site("attn_out", _FLAT, "d_model"),
        Site("resid_mid", _FLAT, "d_model"),
        Site("ln2_in", _FLAT, "d_model"),
        Site("ln2_scale", _FLAT, "one", editable=False),
        Site("ln2_out", _FLAT, "d_model"),
        Site("mlp_pre", _FLAT, "d_mlp"),
        Site("mlp_post", _FLAT, "d_mlp"),
        Site("mlp_out", _FLAT, "d_model"),
        Site("resid_post", _FLAT, "d_model"),
        Site("ln_f_in", _FLAT, "d_model", layered=False),
        Site("ln_f_scale", _FLAT, "one", layered=False, editable=False),
        Site("ln_f_out", _FLAT, "d_model", layered=False),
        Site("logits", _FLAT, "vocab", layered=False),
    )
}

# Of GPT2LMHeadModel, outside its blocks.
_MODEL_MODULES = {
    "transformer.wte:output": "embed",
    "transformer.wpe:output": "pos_embed",
    "transformer.ln_f:input": "ln_f_in",
    "transformer.ln_f:output": "ln_f_out",
    "lm_head:output": "logits",
}
# Read, the head's input is ln_f's output. Written it is another thing, which no site is: a pre-hook
# there leaves the last hidden state as it was.
_READ_ONLY = {"lm_head:input": "ln_f_out"}
# Of GPT2Block, by the path inside it. Where one module's output is the next one's only input, the
# two are one value: the linear layers and the activation of the MLP, LayerNorm and what follows it.
_BLOCK_MODULES = {
    ":input": "resid_pre",
    "ln_1:input": "ln1_in",
    "ln_1:output": "ln1_out",
    "attn.c_attn:input": "ln1_out",
    "attn:input": "ln1_out",
    "attn.c_attn:output": "qkv",
    "attn.c_proj:input": "z",
    "attn.c_proj:output": "attn_out",
    "attn:output": "attn_out",
    "ln_2:input": "ln2_in",
    "ln_2:output": "ln2_out",
    "mlp:input": "ln2_out",
    "mlp.c_fc:input": "ln2_out",
    "mlp.c_fc:output": "mlp_pre",
    "mlp.act:input": "mlp_pre",
    "mlp.act:output": "mlp_post",
    "mlp.c_proj:input": "mlp_post",
    "mlp.c_proj:output": "mlp_out",
    "mlp:output": "mlp_out",
    ":output": "resid_post",
}
# TransformerLens' hook points without its changes of the weights (from_pretrained_no_processing).
_MODEL_HOOKS = {
    "hook_embed": "embed",
    "hook_pos_embed": "pos_embed",
    "ln_final.hook_scale": "ln_f_scale",
}
_BLOCK_HOOKS = {
    "hook_resid_pre": "resid_pre",
    "hook_attn_in": "ln1_in",  # Before ln1, behind the fork of the residual stream.
    "ln1.hook_scale": "ln1_scale",
    "attn.hook_q": "q",
    "attn.hook_k": "k",
    "attn.hook_v": "v",
    "attn.hook_attn_scores": "attn_scores",
    "attn.hook_pattern": "pattern",
    "attn.hook_z": "z",
    "attn.hook_result": "head_result",
    "hook_attn_out": "attn_out",
    "hook_resid_mid": "resid_mid",
    "hook_mlp_in": "ln2_in",
    "ln2.hook_scale": "ln2_scale",
    "mlp.hook_pre": "mlp_pre",
    "mlp.hook_post": "mlp_post",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}
# Those that may also be said without `attn.`.
_SHORT_HOOKS = {
    name.removeprefix("attn."): site
    for name, site in _BLOCK_HOOKS.items()
    if name.startswith("attn.")
}

_HOOKS = _MODEL_HOOKS | _BLOCK_HOOKS | _SHORT_HOOKS
_MODULES = _MODEL_MODULES | _READ_ONLY | _BLOCK_MODULES
NAMES: dict[str, str] = {name: name for name in SITES} | _HOOKS | _MODULES

_IN_BLOCK_OF_LENS = re.compile(r"blocks\.(\d+)\.(.+)")
_IN_BLOCK_OF_HUGGING_FACE = re.compile(r"transformer\.h(?:\.(\d+)|\[(\d+)\])\.?(.*:\w+)")


def find(path: str) -> tuple[Site, int | None]:
    """The site that a path means, and the layer if it has one."""
    if path in SITES:
        return SITES[path], None
    if path in _HOOKS:
        return SITES[_HOOKS[path]], None
    if found := _IN_BLOCK_OF_LENS.fullmatch(path):
        hooks = _BLOCK_HOOKS | _SHORT_HOOKS
        if found[2] in hooks:
            return SITES[hooks[found[2]]], int(found[1])
    # nnsight writes `.output` for what a hook sees, and may begin at the wrapped model.
    module = re.sub(r"\.(input|output)$", r":\1", path.removeprefix("model."))
    if module in _READ_ONLY:
        return dataclasses.replace(SITES[_READ_ONLY[module]], editable=False), None
    if module in _MODULES:
        return SITES[_MODULES[module]], None
    found = _IN_BLOCK_OF_HUGGING_FACE.fullmatch(module)
    if found and found[3] in _BLOCK_MODULES:
        return SITES[_BLOCK_MODULES[found[3]]], int(found[1] or found[2])
    raise Refused(f"nothing is called {path!r}")


def is_module(name: str) -> bool:
    """Whether a name is of HuggingFace's tree, and not of a block as a whole."""
    return name in _MODULES


def is_hook(name: str) -> bool:
    """Whether a name is one of TransformerLens' hook points."""
    return name in _HOOKS
