"""Where the twin stops in transformers' GPT-2: forward hooks at each site, and a tap on the softmax
of attention."""

from typing import Any, Protocol

import torch
from torch.overrides import TorchFunctionMode
from transformers import GPT2LMHeadModel

from tests.parity.places import NO_LAYER, ModelShape
from tests.support.client import site_pb2


class Run(Protocol):
    """What the hooks tell that they have come to a site."""

    shape: ModelShape
    wanted: Any
    layer: int
    row: Any

    def enter_layer(self, layer: int) -> None:
        """The row begins with a layer."""

    def visit(self, site: int, layer: int, value: torch.Tensor) -> torch.Tensor:
        """The row has this value at a site; it goes on with what is returned."""


class SoftmaxTap(TorchFunctionMode):
    """Shows the scores and the pattern of eager attention. Masked scores become minus infinity, as
    the contract has them."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not torch.nn.functional.softmax:
            return function(*args, **(kwargs or {}))
        scores = args[0]
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
        scores = self.run.visit(site_pb2.SITE_ATTN_SCORES, self.run.layer, scores[0])[None]
        pattern = function(scores, dim=-1)
        pattern = pattern.masked_fill((scores == -torch.inf).all(-1, keepdim=True), 0.0)
        return self.run.visit(site_pb2.SITE_PATTERN, self.run.layer, pattern[0])[None]


class Hooks:
    """Where each site is in the modules of transformers. In every tensor of a hook the first axis
    is a batch of one."""

    def __init__(self, model: GPT2LMHeadModel, run: Run):
        self.model, self.run = model, run
        self.handles = []

    def install(self) -> list:
        transformer = self.model.transformer
        self._output(transformer.wte, site_pb2.SITE_EMBED, NO_LAYER)
        self._output(transformer.wpe, site_pb2.SITE_POS_EMBED, NO_LAYER)
        for layer, block in enumerate(transformer.h):
            self._block(layer, block)
        self._norm(transformer.ln_f, "LN_F", NO_LAYER)
        self._output(self.model.lm_head, site_pb2.SITE_LOGITS, NO_LAYER)
        return self.handles

    def _block(self, layer: int, block) -> None:
        def enter(module, args, kwargs):
            self.run.enter_layer(layer)
            return (
                self.run.visit(site_pb2.SITE_RESID_PRE, layer, args[0][0])[None],
                *args[1:],
            ), kwargs

        def leave(module, args, output):
            output = (
                self.run.visit(site_pb2.SITE_RESID_POST, layer, output[0][0])[None],
                *output[1:],
            )
            self.run.row.tuples[layer] = output
            return output

        self.handles += [
            block.register_forward_pre_hook(enter, with_kwargs=True),
            block.register_forward_hook(leave),
        ]
        self._norm(block.ln_1, "LN1", layer)
        self._output(block.attn.c_attn, site_pb2.SITE_QKV, layer)
        self._attention_output(layer, block.attn.c_proj)
        self._resid_mid(layer, block.ln_2)
        self._norm(block.ln_2, "LN2", layer)
        self._output(block.mlp.c_fc, site_pb2.SITE_MLP_PRE, layer)
        self._input(block.mlp.c_proj, site_pb2.SITE_MLP_POST, layer)
        self._output(block.mlp.c_proj, site_pb2.SITE_MLP_OUT, layer)

    def _output(self, module, site: int, layer: int) -> None:
        def hook(module, args, output):
            return self.run.visit(site, layer, output[0])[None]

        self.handles.append(module.register_forward_hook(hook))

    def _input(self, module, site: int, layer: int) -> None:
        def hook(module, args):
            return (self.run.visit(site, layer, args[0][0])[None],)

        self.handles.append(module.register_forward_pre_hook(hook))

    def _norm(self, module, name: str, layer: int) -> None:
        def hook(module, args, output):
            variance = args[0][0].var(-1, unbiased=False, keepdim=True)
            scale = (variance + module.eps).sqrt()
            self.run.visit(site_pb2.Site.Value(f"SITE_{name}_SCALE"), layer, scale)
            out = site_pb2.Site.Value(f"SITE_{name}_OUT")
            return self.run.visit(out, layer, output[0])[None]

        self._input(module, site_pb2.Site.Value(f"SITE_{name}_IN"), layer)
        self.handles.append(module.register_forward_hook(hook))

    def _attention_output(self, layer: int, projection) -> None:
        heads = self.run.shape.n_head

        def hook(module, args):
            z = self.run.visit(site_pb2.SITE_Z, layer, args[0][0].unflatten(-1, (heads, -1)))
            if (layer, site_pb2.SITE_HEAD_RESULT) in self.run.wanted:
                result = torch.einsum("thu,hud->thd", z, module.weight.unflatten(0, (heads, -1)))
                self.run.visit(site_pb2.SITE_HEAD_RESULT, layer, result)
            return (z.flatten(-2)[None],)

        self.handles.append(projection.register_forward_pre_hook(hook))
        self._output(projection, site_pb2.SITE_ATTN_OUT, layer)

    def _resid_mid(self, layer: int, norm) -> None:
        """The block keeps this tensor as its residual while ln_2 reads it: an edit has to be made
        in place."""

        def hook(module, args):
            args[0].copy_(self.run.visit(site_pb2.SITE_RESID_MID, layer, args[0][0])[None])

        self.handles.append(norm.register_forward_pre_hook(hook))
