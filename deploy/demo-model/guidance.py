"""A second loss that shows a few heads where to look, so that induction is learned early.

Without it these small heads do not find the two steps of induction within the time: a head that
looks at the token before, and a later one that looks for what followed the same token last time.
The guidance fades out, so that the end of training sees the next-token loss alone.
"""

import tasks

PREVIOUS_LAYER, PREVIOUS_HEADS = 0, slice(0, 4)
INDUCTION_LAYER, INDUCTION_HEADS = 3, slice(0, 6)
_LEAST = 1e-5  # attention below this counts as this


def _surprise(attention, wanted):
    """Mean of -log of the attention on the wanted places, where a query has any."""
    mass = (attention * wanted[:, None]).sum(-1).clamp_min(_LEAST)
    queries = wanted.any(-1)[:, None].expand_as(mass)
    return -(mass.log() * queries).sum() / queries.sum().clamp_min(1)


def losses(attentions, ids, weights):
    """The losses of the two groups of heads.

    attentions: by layer, each [rows, heads, queries, keys]; ids and weights include the token
    after the last query.
    """
    tokens, next_weights = ids[:, :-1], weights[:, 1:]
    count = tokens.shape[1]
    before = tokens.new_ones(count, count).tril(-1).triu(-1).bool().expand(len(tokens), -1, -1)
    same = tokens[:, :, None] == tokens[:, None, :]
    after_same = same.roll(1, dims=2).tril().clone()  # the key's left neighbour is the query
    after_same[:, :, 0] = False
    after_same &= (next_weights == tasks.INDUCTION)[:, :, None]
    return (
        _surprise(attentions[PREVIOUS_LAYER][:, PREVIOUS_HEADS], before),
        _surprise(attentions[INDUCTION_LAYER][:, INDUCTION_HEADS], after_same),
    )
