"""Activation patching under the names of `transformer_lens.patching`.

>>> _, clean_cache = model.run_with_cache(clean_tokens, names_filter=[])
>>> patching.get_act_patch_resid_pre(model, corrupted_tokens, clean_cache, metric)

Each function puts one activation of the clean run at a time into the corrupted run, and gives the
metric of each patched run, float32, in the shape that TransformerLens gives it. What is a loop over
runs there is one sweep here. The cache says which tokens are clean, and the server reads their
activations in a run of its own, so the cache need not hold any.

The metric is one of `scalpel`: `logit_diff(" Mary", " John")`, `prob(" Mary")`, `loss()`, or
`patching_score(...)`, which is 0 as corrupted and 1 as clean. It is computed for each prompt, with
a token for each where lists are given, and the mean over the batch is returned. There is no
`generic_activation_patch`, which takes a function: use `model.model.sweep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scalpel import axes, operations
from scalpel.axes import Axis
from scalpel.lens.activation_cache import ActivationCache
from scalpel.lens.arrays import Array
from scalpel.lens.hooked_transformer import HookedTransformer
from scalpel.lens.tokenization import Input
from scalpel.metrics import Metric
from scalpel.operations import Operation
from scalpel.sweep_result import SweepResult

Patching = Callable[[HookedTransformer, Input, ActivationCache, Metric], Array]


class _Experiment:
    """A corrupted batch, the clean one that it is patched from, and a metric."""

    def __init__(
        self, model: HookedTransformer, corrupted: Input, clean: ActivationCache, metric: Metric
    ):
        if not isinstance(metric, Metric):
            what = "a Python function" if callable(metric) else repr(metric)
            raise TypeError(
                f"patching_metric: {what} cannot be computed on the server; give a metric of "
                "scalpel, such as logit_diff(' Mary', ' John') or patching_score(...)"
            )
        if not isinstance(clean, ActivationCache):
            raise TypeError("clean_cache: what `run_with_cache` gives is meant")
        self._model, self._metric = model, metric
        self._rows, self._sources = model.rows_of(corrupted), clean.clean_tokens
        if self._rows.shape != self._sources.shape:
            raise ValueError(
                f"corrupted_tokens: shape {list(self._rows.shape)}, and the clean tokens have "
                f"{list(self._sources.shape)}; the two meet position by position"
            )
        self.lengths = {
            "layer": model.cfg.n_layers, "pos": self._rows.shape[1], "head": model.cfg.n_heads,
        }  # fmt: skip

    def grid(self, site: str, over: tuple[str, ...]) -> Any:
        """The metric for each place of a site, [*over]: one sweep, or as many as the server's limit
        of variants makes of it, with some layers each."""
        shape = tuple(self.lengths[axis] for axis in over)
        cells = int(np.prod(shape[1:]))
        layers = max(1, self._model.model.info.limits.max_variants // cells)
        found = []
        for first in range(0, shape[0], layers):
            some = range(first, min(first + layers, shape[0]))
            swept = self._sweep(self._patches(site), over=[axes.layers(some), *_axes(over[1:])])
            found.append(self._mean(swept))
        return np.concatenate(found)

    def pattern_entries(self) -> Any:
        """The metric for each entry of each head's pattern, [layer, head, query, key]. Entries that
        a token does not see are the same in all runs: there it is the corrupted run's."""
        layers, heads, length = (self.lengths[axis] for axis in ("layer", "head", "pos"))
        places = [
            (layer, head, query, key)
            for layer in range(layers)
            for head in range(heads)
            for query in range(length)
            for key in range(query + 1)
        ]
        out = np.empty((layers, heads, length, length))
        most = self._model.model.info.limits.max_variants
        for first in range(0, len(places), most):
            some = places[first : first + most]
            variants = [list(self._patches("pattern", *place)) for place in some]
            swept = self._sweep(variants=variants)
            if not first:
                out[:] = np.mean([swept.clean(prompt=i) for i in range(len(self._rows))])
            out[tuple(np.transpose(some))] = self._mean(swept)
        return out

    def _patches(self, site: str, *place: int) -> Iterator[Operation]:
        """A patch of each prompt from its own source."""
        where: Any = dict(zip(("layer", "head", "query", "key"), place, strict=False))
        for i in range(len(self._rows)):
            yield operations.patch(site, from_source=i, prompt=i, **where)

    def _sweep(self, patches: Any = (), **varied: Any) -> SweepResult:
        return self._model.model.sweep(
            [row.tolist() for row in self._rows],
            list(patches),
            metrics=self._metric,
            sources=[row.tolist() for row in self._sources],
            **varied,
        )

    def _mean(self, swept: SweepResult) -> Any:
        of_each = [swept.array(prompt=prompt) for prompt in range(len(self._rows))]
        if of_each[0].ndim != len(swept.shape):
            raise ValueError(f"patching_metric: {self._metric} is not one number")
        return np.mean(of_each, axis=0)


def _axes(over: tuple[str, ...]) -> list[Axis]:
    made = {"pos": axes.positions, "head": axes.heads}
    return [made[axis]() for axis in over]


def _patching(name: str, what: str, site: str, *over: str) -> Patching:
    def patch(
        model: HookedTransformer,
        corrupted_tokens: Input,
        clean_cache: ActivationCache,
        patching_metric: Metric,
    ) -> Array:
        experiment = _Experiment(model, corrupted_tokens, clean_cache, patching_metric)
        return model.make(experiment.grid(site, over).astype(np.float32))

    patch.__name__ = patch.__qualname__ = name
    patch.__doc__ = f"Patches {what}, one of {', '.join(over)} at a time: [{', '.join(over)}]."
    return patch


_BY_POS = ("layer", "pos", "head")
_ALL_POS = ("layer", "head")

get_act_patch_resid_pre = _patching(
    "get_act_patch_resid_pre", "the residual stream before a block", "resid_pre", "layer", "pos"
)
get_act_patch_resid_mid = _patching(
    "get_act_patch_resid_mid", "the stream between attention and MLP", "resid_mid", "layer", "pos"
)
get_act_patch_attn_out = _patching(
    "get_act_patch_attn_out", "an attention layer's output", "attn_out", "layer", "pos"
)
get_act_patch_mlp_out = _patching(
    "get_act_patch_mlp_out", "an MLP's output", "mlp_out", "layer", "pos"
)
get_act_patch_attn_head_out_by_pos = _patching(
    "get_act_patch_attn_head_out_by_pos", "a head's z", "z", *_BY_POS
)
get_act_patch_attn_head_q_by_pos = _patching(
    "get_act_patch_attn_head_q_by_pos", "a head's queries", "q", *_BY_POS
)
get_act_patch_attn_head_k_by_pos = _patching(
    "get_act_patch_attn_head_k_by_pos", "a head's keys", "k", *_BY_POS
)
get_act_patch_attn_head_v_by_pos = _patching(
    "get_act_patch_attn_head_v_by_pos", "a head's values", "v", *_BY_POS
)
get_act_patch_attn_head_pattern_by_pos = _patching(
    "get_act_patch_attn_head_pattern_by_pos", "a head's attention from a position", "pattern",
    "layer", "head", "pos",
)  # fmt: skip
get_act_patch_attn_head_out_all_pos = _patching(
    "get_act_patch_attn_head_out_all_pos", "a head's z at all positions", "z", *_ALL_POS
)
get_act_patch_attn_head_q_all_pos = _patching(
    "get_act_patch_attn_head_q_all_pos", "a head's queries at all positions", "q", *_ALL_POS
)
get_act_patch_attn_head_k_all_pos = _patching(
    "get_act_patch_attn_head_k_all_pos", "a head's keys at all positions", "k", *_ALL_POS
)
get_act_patch_attn_head_v_all_pos = _patching(
    "get_act_patch_attn_head_v_all_pos", "a head's values at all positions", "v", *_ALL_POS
)
get_act_patch_attn_head_pattern_all_pos = _patching(
    "get_act_patch_attn_head_pattern_all_pos", "a head's whole pattern", "pattern", *_ALL_POS
)


def get_act_patch_attn_head_pattern_dest_src_pos(
    model: HookedTransformer,
    corrupted_tokens: Input,
    clean_cache: ActivationCache,
    patching_metric: Metric,
) -> Array:
    """Patches one entry of a head's pattern at a time: [layer, head, pos of the query, pos of the
    key]. Many runs: layers * heads * positions * (positions + 1) / 2."""
    experiment = _Experiment(model, corrupted_tokens, clean_cache, patching_metric)
    return model.make(experiment.pattern_entries().astype(np.float32))


def get_act_patch_attn_head_all_pos_every(
    model: HookedTransformer, corrupted_tokens: Input, clean_cache: ActivationCache, metric: Metric
) -> Array:
    """A head's z, queries, keys, values and pattern at all positions: [5, layer, head]."""
    experiment = _Experiment(model, corrupted_tokens, clean_cache, metric)
    found = [experiment.grid(site, _ALL_POS) for site in ("z", "q", "k", "v", "pattern")]
    return model.make(np.stack(found).astype(np.float32))


def get_act_patch_attn_head_by_pos_every(
    model: HookedTransformer, corrupted_tokens: Input, clean_cache: ActivationCache, metric: Metric
) -> Array:
    """A head's z, queries, keys, values and pattern by position: [5, layer, pos, head]."""
    experiment = _Experiment(model, corrupted_tokens, clean_cache, metric)
    found = [experiment.grid(site, _BY_POS) for site in ("z", "q", "k", "v", "pattern")]
    return model.make(np.stack(found).astype(np.float32))


def get_act_patch_block_every(
    model: HookedTransformer, corrupted_tokens: Input, clean_cache: ActivationCache, metric: Metric
) -> Array:
    """The residual stream before a block, attention's output and the MLP's: [3, layer, pos]."""
    experiment = _Experiment(model, corrupted_tokens, clean_cache, metric)
    found = [
        experiment.grid(site, ("layer", "pos")) for site in ("resid_pre", "attn_out", "mlp_out")
    ]
    return model.make(np.stack(found).astype(np.float32))
