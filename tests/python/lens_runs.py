"""What the tests of `scalpel.lens` run, and the same as the client itself runs it."""

import numpy as np

from scalpel.observations import Logits

PROMPT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
# The token that texts begin with.
BOS = 2047


def plain_logits(model, rows, operations=()):
    """Of the client that `scalpel.lens` is built on: [batch, pos, vocab]."""
    full = Logits.full(position=slice(None))
    run = model.run([row.tolist() for row in rows], list(operations), logits=full)
    return np.stack([run.logits(prompt=i) for i in range(len(rows))])
