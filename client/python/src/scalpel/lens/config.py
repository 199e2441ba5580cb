"""What a model is, under the names of TransformerLens."""

from __future__ import annotations

import dataclasses

from scalpel.info import ModelInfo


@dataclasses.dataclass
class HookedTransformerConfig:
    """The served model's configuration. The fields that may be changed are `default_prepend_bos`,
    `use_attn_result` and `use_hook_mlp_in`: they say what this client asks for. The others are the
    server's, and changing them changes nothing there."""

    model_name: str
    """The name under which the server holds it."""
    n_layers: int
    """Number of blocks."""
    n_heads: int
    """Attention heads of a block."""
    d_model: int
    """Width of the residual stream."""
    d_head: int
    """Width of a head."""
    d_mlp: int
    """MLP neurons of a block."""
    n_ctx: int
    """The longest prompt, in tokens."""
    d_vocab: int
    """Size of the vocabulary."""
    eps: float
    """Added to the variance under a LayerNorm's root."""
    act_fn: str
    """As config.json names it, such as `gelu_new`."""
    scale_attn_by_inverse_layer_idx: bool
    """Scores are also divided by the layer's index + 1."""
    default_prepend_bos: bool = True
    """Whether `<|endoftext|>` goes before each text, where a call does not say."""
    use_attn_result: bool = False
    """Whether `run_with_cache` keeps `attn.hook_result`."""
    use_hook_mlp_in: bool = False
    """Whether `run_with_cache` keeps `hook_mlp_in`."""
    normalization_type: str = "LN"
    """LayerNorm with its gain and bias: nothing is folded."""
    attn_only: bool = False
    """There are MLPs."""
    device: str = "cpu"
    """Where the tensors are that come back."""

    @property
    def d_vocab_out(self) -> int:
        """As many as come in."""
        return self.d_vocab


def config_of(info: ModelInfo, prepend_bos: bool) -> HookedTransformerConfig:
    """From what a server says."""
    config = info.config
    return HookedTransformerConfig(
        model_name=info.name,
        n_layers=config.n_layer,
        n_heads=config.n_head,
        d_model=config.d_model,
        d_head=config.d_head,
        d_mlp=config.d_mlp,
        n_ctx=config.n_ctx,
        d_vocab=config.vocab_size,
        eps=config.layer_norm_epsilon,
        act_fn=config.activation_function,
        scale_attn_by_inverse_layer_idx=config.scale_attn_by_inverse_layer_idx,
        default_prepend_bos=prepend_bos,
    )
