"""What the residual stream is made of: the methods of a cache that stack its parts.

Names, labels, order and shapes are those of TransformerLens' `ActivationCache`. They read what the
cache holds, and raise KeyError for what it does not.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from scalpel.lens.arrays import Array, to_numpy
from scalpel.lens.runs import Served
from scalpel.lens.slices import Slice


class ResidualStacks:
    """Of an `ActivationCache`."""

    model: Served
    """The model that made it."""
    has_batch_dim: bool
    """Whether the first axis of each array is the batch."""

    def __getitem__(self, key: Any) -> Array:
        """An activation."""
        raise NotImplementedError

    def compute_head_results(self) -> None:
        """Adds what each head writes, `attn.hook_result`."""
        raise NotImplementedError

    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: Any = None,
        mlp_input: bool = False,
        return_labels: bool = False,
        recompute_ln: bool = False,
    ) -> Any:
        """The residual stream before each layer up to `layer`, and after the last where `layer` is
        left out, -1 or `n_layers`: [layers, *batch and pos, d_model].

        incl_mid: also between attention and MLP of the layers before.
        mlp_input: also between attention and MLP of `layer` itself.
        apply_ln, recompute_ln: see `apply_ln_to_stack`. TransformerLens 2 is `apply_ln=True` alone;
            versions 3 and 4 recompute where `layer` is the last, which is `recompute_ln=True`
            here.
        return_labels: also the label of each, such as `3_pre`, `3_mid`, `final_post`.
        """
        last = self._layer(layer)
        parts: list[tuple[str, Any]] = []
        for one in range(min(last + 1, self.model.cfg.n_layers)):
            parts.append((f"{one}_pre", self._read("resid_pre", one)))
            if (incl_mid and one < last) or (mlp_input and one == last):
                parts.append((f"{one}_mid", self._read("resid_mid", one)))
        if last == self.model.cfg.n_layers:
            parts.append(("final_post", self._read("resid_post", last - 1)))
        stack = _stack(parts, pos_slice)
        if apply_ln:
            stack = self._normalised(stack, last, mlp_input, pos_slice, recompute_ln=recompute_ln)
        return self._answer(stack, parts, return_labels)

    def decompose_resid(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        mode: Literal["all", "mlp", "attn"] = "all",
        apply_ln: bool = False,
        pos_slice: Any = None,
        incl_embeds: bool = True,
        return_labels: bool = False,
    ) -> Any:
        """What was added to the residual stream before `layer`: the embeddings, and the outputs of
        each attention and MLP: [components, *batch and pos, d_model]. Their sum is the stream.

        layer: left out, -1 or `n_layers`: all of them.
        mlp_input: also the attention of `layer` itself.
        mode: attention's outputs alone, or the MLPs'.
        incl_embeds: whether the embeddings are among them, where the cache has them.
        apply_ln: see `apply_ln_to_stack`.
        return_labels: also the label of each, such as `embed`, `3_attn_out`, `3_mlp_out`.
        """
        if mode not in ("all", "mlp", "attn"):
            raise ValueError(f"mode: {mode!r} is none of 'all', 'mlp', 'attn'")
        last = self._layer(layer)
        parts: list[tuple[str, Any]] = []
        if incl_embeds:
            parts += [(name, self._read(name)) for name in ("embed", "pos_embed")]
        for one in range(last):
            if mode != "mlp":
                parts.append((f"{one}_attn_out", self._read("attn_out", one)))
            if mode != "attn":
                parts.append((f"{one}_mlp_out", self._read("mlp_out", one)))
        if mlp_input and mode != "mlp":
            parts.append((f"{last}_attn_out", self._read("attn_out", last)))
        if not parts:
            raise ValueError("layer: no component is before layer 0 without the embeddings")
        stack = _stack(parts, pos_slice)
        if apply_ln:
            stack = self._normalised(stack, last, mlp_input, pos_slice)
        return self._answer(stack, parts, return_labels)

    def stack_head_results(
        self,
        layer: int | None = -1,
        return_labels: bool = False,
        incl_remainder: bool = False,
        pos_slice: Any = None,
        apply_ln: bool = False,
    ) -> Any:
        """What each head of the layers before `layer` writes, without the output bias:
        [layer * head, *batch and pos, d_model], with labels such as `L9H6`. Where the cache has no
        `hook_result`, the server is asked for it.

        layer: left out, -1 or `n_layers`: all of them.
        incl_remainder: also the rest of the stream, `remainder`.
        apply_ln: see `apply_ln_to_stack`.
        """
        last = self._layer(layer)
        self.compute_head_results()
        heads = self.model.cfg.n_heads
        parts = [
            (f"L{one}H{head}", self._read("result", one)[..., head, :])
            for one in range(last)
            for head in range(heads)
        ]
        if incl_remainder:
            stream = self._read("resid_post", last - 1) if last else self._read("resid_pre", 0)
            rest = stream - np.sum([part for _, part in parts], axis=0) if parts else stream
            parts.append(("remainder", rest))
        if not parts:
            raise ValueError("layer: no head is before layer 0")
        stack = _stack(parts, pos_slice)
        if apply_ln:
            stack = self._normalised(stack, last, False, pos_slice)
        return self._answer(stack, parts, return_labels)

    def stack_activation(
        self, activation_name: str, layer: int | None = -1, sublayer_type: str | None = None
    ) -> Array:
        """An activation of the layers before `layer` (left out: of all), stacked: [layer, ...]."""
        layers = range(self._layer(layer))
        found = [to_numpy(self[activation_name, one, sublayer_type]) for one in layers]
        return self.model.make(np.stack(found))

    def apply_ln_to_stack(
        self,
        residual_stack: Any,
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
        recompute_ln: bool = False,
    ) -> Array:
        """Each component less its mean, divided by the scale that the run itself had at the
        LayerNorm before `layer`: what the component contributes to that LayerNorm, apart from gain
        and bias.

        layer: left out, -1 or `n_layers`: the final LayerNorm.
        mlp_input: the LayerNorm before the MLP of `layer`.
        pos_slice: what was already taken of the stack's positions; it is taken of the scale.
        batch_slice, has_batch_dim: what to take of the batch, which is the stack's second axis.
        recompute_ln: at the final LayerNorm, each component as the model itself would normalise it,
            with a scale of its own and with gain and bias.
        """
        stack, batch = to_numpy(residual_stack), Slice.of(batch_slice)
        if has_batch_dim:
            stack = batch.apply(stack, dim=1)
        return self.model.make(
            self._normalised(stack, self._layer(layer), mlp_input, pos_slice, batch, recompute_ln)
        )

    def logit_attrs(
        self,
        residual_stack: Any,
        tokens: Any,
        incorrect_tokens: Any = None,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
        fold_ln: bool = False,
    ) -> Array:
        """What each component contributes to the logit of `tokens`, or to its difference from that
        of `incorrect_tokens`: [components, *batch and pos].

        tokens, incorrect_tokens: a token's text, an id, or ids [batch] or [batch, pos].
        pos_slice, batch_slice, has_batch_dim: as in `apply_ln_to_stack`.
        fold_ln: False: the unembedding as it is, without the final LayerNorm's gain, as of
            `from_pretrained_no_processing`; the components of the stream do not sum to the logit.
            True: with the gain, as `from_pretrained` folds it: they sum to the logit less the part
            of the final LayerNorm's bias, and differences are those of `from_pretrained`.
        """
        ids = self.model.ids_of(tokens)
        directions = self.model.residual_directions(ids)
        if incorrect_tokens is not None:
            others = self.model.ids_of(incorrect_tokens)
            if others.shape != ids.shape:
                raise ValueError(f"incorrect_tokens: shape {others.shape}, tokens: {ids.shape}")
            directions = directions - self.model.residual_directions(others)
        if fold_ln:
            directions = directions * self.model.final_norm()[0]
        scaled = self.apply_ln_to_stack(
            residual_stack, -1, False, pos_slice, batch_slice, has_batch_dim
        )
        return self.model.make((to_numpy(scaled) * directions).sum(axis=-1))

    def _normalised(
        self,
        stack: Any,
        layer: int,
        mlp_input: bool,
        pos_slice: Any,
        batch: Slice | None = None,
        recompute_ln: bool = False,
    ) -> Any:
        stack = stack - stack.mean(axis=-1, keepdims=True)
        if layer == self.model.cfg.n_layers:
            if recompute_ln:
                gain, bias = self.model.final_norm()
                variance = (stack**2).mean(axis=-1, keepdims=True)
                return stack / np.sqrt(variance + np.float32(self.model.cfg.eps)) * gain + bias
            scale = self._read("scale")
        else:
            scale = self._read("scale", layer, "ln2" if mlp_input else "ln1")
        scale = Slice.of(pos_slice).apply(scale, dim=-2)
        if batch is not None and self.has_batch_dim:
            scale = batch.apply(scale)
        return stack / scale

    def _layer(self, layer: int | None) -> int:
        layers = self.model.cfg.n_layers
        if layer is None or layer == -1:
            return layers
        if not 0 <= layer <= layers:
            raise ValueError(f"layer: {layer} is outside [0, {layers}]; -1 means all")
        return layer

    def _read(self, name: str, layer: int | None = None, part: str | None = None) -> Any:
        return to_numpy(self[name, layer, part])

    def _answer(self, stack: Any, parts: list[tuple[str, Any]], return_labels: bool) -> Any:
        made = self.model.make(stack)
        return (made, [label for label, _ in parts]) if return_labels else made


def _stack(parts: list[tuple[str, Any]], pos_slice: Any) -> Any:
    positions = Slice.of(pos_slice)
    return np.stack([positions.apply(part, dim=-2) for _, part in parts])
