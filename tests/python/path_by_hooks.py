"""Path patching as it is written with forward hooks, on HuggingFace's GPT-2: three passes, and
hooks that freeze, send and receive."""

import contextlib

import torch

# The module that has each site, and whether as its input.
_MODULES = {
    "embed": ("transformer.wte", False),
    "z": ("transformer.h.{}.attn.c_proj", True),
    "attn_out": ("transformer.h.{}.attn.c_proj", False),
    "mlp_out": ("transformer.h.{}.mlp", False),
    "q": ("transformer.h.{}.attn.c_attn", False),
    "k": ("transformer.h.{}.attn.c_attn", False),
    "v": ("transformer.h.{}.attn.c_attn", False),
    "ln1_in": ("transformer.h.{}.ln_1", True),
    "ln2_in": ("transformer.h.{}.ln_2", True),
    "ln_f_in": ("transformer.ln_f", True),
}


class Hooked:
    """A model in eager attention, float32."""

    def __init__(self, model):
        self.model, self.config = model.eval(), model.config

    def view(self, site, value):
        """A site in what its module takes or gives: [position, head, unit] or [position, unit]."""
        heads = self.config.n_head
        if site in ("q", "k", "v"):
            part = value[0].split(self.config.n_embd, dim=1)["qkv".index(site)]
            return part.unflatten(1, (heads, -1))
        return value[0].unflatten(1, (heads, -1)) if site == "z" else value[0]

    @contextlib.contextmanager
    def hooks(self, edits):
        """`edits`: (site, layer, function of the site's view, which writes into it), in the order
        in which they apply."""
        handles = []
        for site, layer, edit in edits:
            name, is_input = _MODULES[site]
            module = self.model.get_submodule(name.format(layer))
            if is_input:
                handles.append(module.register_forward_pre_hook(self._on_input(site, edit)))
            else:
                handles.append(module.register_forward_hook(self._on_output(site, edit)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _on_input(self, site, edit):
        def hook(module, args):
            value = args[0].clone()
            edit(self.view(site, value))
            return value, *args[1:]

        return hook

    def _on_output(self, site, edit):
        def hook(module, args, output):
            value = output.clone()
            edit(self.view(site, value))
            return value

        return hook

    @torch.no_grad()
    def logits(self, tokens, edits=()):
        with self.hooks(edits):
            return self.model(torch.tensor([tokens])).logits[0]

    def cache(self, tokens, places, edits=()):
        """What stands at (site, layer) in a run."""
        seen = {}
        keep = [
            (site, layer, lambda view, at=(site, layer): seen.update({at: view.clone()}))
            for site, layer in places
        ]
        self.logits(tokens, [*edits, *keep])
        return seen


def path_patched(hooked, prompt, other, senders, receivers, freeze_mlps=True):
    """Logits of `prompt` where the receivers get by direct paths what the senders write in
    `other`."""
    sites = ("z", "mlp_out") if freeze_mlps else ("z",)
    frozen = [(site, layer) for layer in range(hooked.config.n_layer) for site in sites]
    clean = hooked.cache(prompt, frozen)
    source = hooked.cache(other, {(end.site, end.layer) for end in senders})
    freeze = [(*at, lambda view, at=at: view.copy_(clean[at])) for at in frozen]

    def copying(ends, values):
        return [
            (end.site, end.layer, lambda v, e=end: e.copy(v, values[e.site, e.layer]))
            for end in ends
        ]

    read = {(end.site, end.layer) for end in receivers}
    passed = hooked.cache(prompt, read, [*freeze, *copying(senders, source)])
    return hooked.logits(prompt, copying(receivers, passed))
