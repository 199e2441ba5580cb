"""Path patching in float64, written from its definition (Wang et al. 2022), on the forward pass of
`tests/oracle`, which shares nothing with the server."""

import dataclasses

from tests.oracle.forward import centred_and_scale, forward, views

FROZEN = {True: ("z", "mlp_out"), False: ("z",)}
OF_QKV = ("q", "k", "v")


@dataclasses.dataclass(frozen=True)
class End:
    """A sender or a receiver, and what of it: all heads and positions where none is named."""

    site: str
    layer: int | None = None
    heads: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None

    def copy(self, into, value):
        """Copies what it selects, in a tensor [position, head, unit] or [position, unit]."""
        positions = range(len(value)) if self.positions is None else self.positions
        for position in positions:
            if self.heads is None:
                into[position] = value[position]
            for head in self.heads or ():
                into[position, head] = value[position, head]

    def where(self):
        """Its selectors in the client."""
        named = {"layer": self.layer, "head": self.heads, "position": self.positions}
        return {name: value for name, value in named.items() if value is not None}


def run(model, tokens, edit=lambda site, layer, value: None):
    """Every site of a run, by (site, layer), after `edit` has written into it."""
    passing = forward(model, tokens)
    seen, value = {}, None
    while True:
        try:
            site, layer, value = passing.send(value)
        except StopIteration:
            return seen
        value = value.copy()
        edit(site, layer, value)
        seen[site, layer] = value


def path_patched(model, prompt, other, senders, receivers, freeze_mlps=True, frozen_scales=False):
    """Logits of `prompt` where the receivers get by direct paths what the senders write in `other`.

    `frozen_scales`: LayerNorm divides by what it divided by in the clean run. That is the usual
    approximation, which takes the effect of a path to be linear.
    """
    clean, source = run(model, prompt), run(model, other)
    read = {}

    def first(site, layer, value):
        if site in FROZEN[freeze_mlps]:
            value[:] = clean[site, layer]
        for end in senders:
            if (end.site, end.layer) == (site, layer):
                end.copy(value, source[site, layer])
        read[site, layer] = value
        if frozen_scales and site in ("ln1_out", "ln2_out", "ln_f_out"):
            name = site.removesuffix("_out")
            module = "ln_f" if layer is None else f"h.{layer}.ln_{name[-1]}"
            gain, bias = model.part(module)
            centred, _ = centred_and_scale(read[f"{name}_in", layer], model.epsilon)
            value[:] = centred / clean[f"{name}_scale", layer] * gain + bias

    frozen = run(model, prompt, first)
    if frozen_scales:  # What is read of it then stands behind the LayerNorm.
        receivers = [dataclasses.replace(e, site=e.site.replace("_in", "_out")) for e in receivers]

    def second(site, layer, value):
        for end in receivers:
            if end.layer != layer:
                continue
            if site == "qkv" and end.site in OF_QKV:
                end.copy(views(model, value)[end.site], views(model, frozen[site, layer])[end.site])
            elif site == end.site:
                end.copy(value, frozen[site, layer])

    return run(model, prompt, second)["logits", None]
