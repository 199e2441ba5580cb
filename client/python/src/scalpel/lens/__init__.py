"""A served model under the names that users of TransformerLens know.

>>> from scalpel import lens
>>> from scalpel.lens import patching, utils
>>> model = lens.connect("localhost:50051")
>>> logits, cache = model.run_with_cache("When Mary and John went to the store")
>>> cache["pattern", 9].shape  # [batch, head, query, key]

What is there: `HookedTransformer` with its configuration, tokenization, `run_with_cache`,
`run_with_hooks` and `hooks`; `ActivationCache` with the stacks of the residual stream and
`logit_attrs`; `patching` with each `get_act_patch_...`; `utils`, also as `utilities`. A hook is not
a function but a typed edit, `lens.zero(head=6)`, because no client's code runs on the server.
Generation, gradients, weights as attributes and models that are not GPT-2's are not there.

The weights are those of HuggingFace, as `HookedTransformer.from_pretrained_no_processing` has them:
`fold_ln`, `center_writing_weights`, `center_unembed` and `fold_value_biases` are all off. Beside
`from_pretrained`, whose defaults turn them on, this differs: all logits of a position by one and
the same number; the residual stream and what is written to it by their means; `hook_v` and `hook_z`
by the value bias of the head; and directions of logits by the final LayerNorm's gain, for which
`logit_attrs` has `fold_ln=True`. Log-probabilities, differences of logits, patterns and scales are
the same.
"""

from scalpel.lens import patching, utilities, utils
from scalpel.lens.activation_cache import ActivationCache
from scalpel.lens.config import HookedTransformerConfig
from scalpel.lens.edits import (
    Edit,
    add,
    clamp,
    knockout,
    mean,
    noise,
    patch,
    project_out,
    scale,
    set_,
    zero,
)
from scalpel.lens.hooked_transformer import HookedTransformer, connect

__all__ = [
    "ActivationCache", "Edit", "HookedTransformer", "HookedTransformerConfig", "add", "clamp",
    "connect", "knockout", "mean", "noise", "patch", "patching", "project_out", "scale", "set_",
    "utilities", "utils", "zero",
]  # fmt: skip
