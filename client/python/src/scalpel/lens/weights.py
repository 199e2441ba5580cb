"""The weights that logits are read with, as the server's own arithmetic shows them.

A server sends activations and no weights. What an unembedding does to unit vectors are its columns,
to the bit, since all other products are zero; what a LayerNorm makes of zeros is its bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalpel import operations
from scalpel.model import Model
from scalpel.observations import Logits


def unembedding(model: Model, ids: Sequence[int]) -> Any:
    """The columns of the unembedding of these tokens: numpy [token, d_model]."""
    width, length = model.info.config.d_model, model.info.config.n_ctx
    units = np.eye(width, dtype=np.float32)
    parts = [units[i : i + length] for i in range(0, width, length)]
    written = [
        operations.set_("ln_f_out", part, prompt=prompt) for prompt, part in enumerate(parts)
    ]
    columns = []
    most = model.info.limits.max_top_k
    for i in range(0, len(ids), most):
        asked = Logits.of(ids[i : i + most], position=slice(None))
        run = model.run([[0] * len(part) for part in parts], written, logits=asked)
        columns.append([[token.logit for token in one.tokens] for one in run.predictions])
    return np.concatenate(columns, axis=1, dtype=np.float32).T


def final_norm(model: Model) -> tuple[Any, Any]:
    """Gain and bias of the final LayerNorm, numpy [d_model] each."""
    width = model.info.config.d_model
    # Of mean 0 and so large that epsilon changes nothing: each element but one, or two of an odd
    # width, is divided by its own size. What is left out in one pattern is there in the other.
    signs = np.resize([1.0, -1.0], width)
    patterns = np.stack([np.zeros(width), signs, signs[::-1]])
    if width % 2:
        patterns[1, -1] = patterns[2, 0] = 0
    given = (2.0**20 * patterns).astype(np.float32)
    written = [operations.set_("ln_f_in", row, prompt=prompt) for prompt, row in enumerate(given)]
    run = model.run([[0]] * len(given), written, capture="ln_f_out", logits="none")
    bias, *others = (run.capture("ln_f_out", prompt=prompt)[0] for prompt in range(len(given)))
    gain = np.zeros(width, np.float64)
    for out, row in zip(others, given[1:].astype(np.float64), strict=True):
        normal = row / row.std()
        np.divide(out.astype(np.float64) - bias, normal, out=gain, where=normal != 0)
    return gain.astype(np.float32), bias
