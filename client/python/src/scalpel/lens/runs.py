"""What a `HookedTransformer` asks of the server: one run for each question."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scalpel import observations
from scalpel.lens import weights
from scalpel.lens.arrays import Kind, to_numpy
from scalpel.lens.edits import Edit, FwdHook
from scalpel.lens.names import Hook, Hooks
from scalpel.lens.tokenization import Tokenization
from scalpel.model import Model
from scalpel.observations import Capture, Logits
from scalpel.operations import Operation
from scalpel.run_result import RunResult

_INSTEAD = (
    "a Python function cannot run on the server; write a typed edit of scalpel.lens: zero() for "
    "x[...] = 0, set_(value) for x[...] = value, scale(factor) for x * factor, add(value) for "
    "x + value, mean() for x.mean(dim=1), patch(tokens) for x[...] = cache[hook.name][...], "
    "project_out(direction), noise(std), clamp(min, max), knockout(pairs); selectors such as "
    "head=6, position=3 stand for the index"
)


@dataclasses.dataclass(frozen=True)
class Activations:
    """What a run brought."""

    logits: Any
    """numpy [batch, pos, vocab], or None where they were not asked for."""
    arrays: Mapping[str, Any]
    """By the hook point's name, numpy [batch, *axes], in order of computation."""


class Served(Tokenization):
    """A served model: runs of tokens, and the few weights that its logits are read with."""

    def __init__(self, model: Model, prepend_bos: bool, arrays: Kind | None):
        super().__init__(model, prepend_bos, arrays)
        self.hooks_of_model = Hooks(model.info, self.cfg)
        self._directions: dict[int, Any] = {}
        self._norm: tuple[Any, Any] | None = None

    def resolved(self, fwd_hooks: Sequence[FwdHook]) -> list[tuple[Hook, Edit]]:
        """The pairs that `fwd_hooks` means. Raises TypeError for a function, KeyError for a name
        that is no hook point."""
        pairs: list[tuple[Hook, Edit]] = []
        for i, (name, edit) in enumerate(fwd_hooks):
            if not isinstance(edit, Edit):
                raise TypeError(f"fwd_hooks[{i}]: {_INSTEAD if callable(edit) else repr(edit)}")
            if not callable(name):
                pairs.append((self.hooks_of_model.find(name), edit))
                continue
            found = self.hooks_of_model.chosen(name)
            if not found:
                raise KeyError(f"fwd_hooks[{i}]: the function is true of no hook point")
            pairs += [(hook, edit) for hook in found]
        return pairs

    def with_sources(
        self, edits: Sequence[tuple[Hook, Edit]], prepend_bos: bool | None
    ) -> list[tuple[Hook, Edit]]:
        """The same, with what is patched from as rows of tokens."""
        return [
            (hook, edit)
            if edit.source is None
            else (hook, dataclasses.replace(edit, source=self.rows_of(edit.source, prepend_bos)))
            for hook, edit in edits
        ]

    def activations(
        self,
        rows: Any,
        edits: Sequence[tuple[Hook, Edit]] = (),
        hooks: Sequence[Hook] = (),
        *,
        with_logits: bool = True,
    ) -> Activations:
        """Runs rows of tokens [batch, pos] under edits, whose sources are rows of tokens too."""
        batch = len(rows)
        prompts = _Prompts(rows)
        operations: list[Operation] = []
        for hook, edit in edits:
            sources = [] if edit.source is None else [prompts.index(row) for row in edit.source]
            operations += edit.operations(hook, batch, sources)
        form = Logits.full(position=slice(None)) if with_logits else Logits.none()
        captures = _captures(hooks, batch)
        run = self.model.run(prompts.all, operations, capture=captures, logits=form)
        logits = None
        if with_logits:
            logits = np.stack([run.logits(prompt=prompt) for prompt in range(batch)])
        return Activations(logits, _stacked(run, hooks, batch))

    def residual_directions(self, ids: Any) -> Any:
        """The columns of the unembedding of an array of token ids, numpy [*ids.shape, d_model]."""
        wanted = np.unique(ids)
        if missing := [int(i) for i in wanted if int(i) not in self._directions]:
            columns = weights.unembedding(self.model, missing)
            self._directions.update(zip(missing, columns, strict=True))
        return np.stack([self._directions[int(i)] for i in np.ravel(ids)]).reshape(
            *np.shape(ids), self.cfg.d_model
        )

    def final_norm(self) -> tuple[Any, Any]:
        """Gain and bias of the final LayerNorm, numpy [d_model] each."""
        if self._norm is None:
            self._norm = weights.final_norm(self.model)
        return self._norm

    def ids_of(self, tokens: Any) -> Any:
        """A token's text, an id, or an array of ids, as an array of ids."""
        if isinstance(tokens, str):
            return np.asarray(self.to_single_token(tokens))
        ids = to_numpy(tokens)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"tokens: {ids.dtype}, where a text or ids (integers) are meant")
        return ids if ids.size != 1 else ids.reshape(())


class _Prompts:
    """The prompts of a request: a batch, and after it what edits patch from. An edit reads clean
    runs, so it may name a row of the batch."""

    def __init__(self, batch: Any):
        self.all: list[list[int]] = [row.tolist() for row in batch]

    def index(self, row: Any) -> int:
        """The prompt that is this row, added where there is none yet."""
        ids = row.tolist()
        if ids not in self.all:
            self.all.append(ids)
        return self.all.index(ids)


def _captures(hooks: Sequence[Hook], batch: int) -> list[Capture]:
    """One for each site, of the layers that are asked for."""
    layers: dict[str, list[int]] = {}
    for hook in hooks:
        layers.setdefault(hook.site, []).extend([] if hook.layer is None else [hook.layer])
    prompts = range(batch)
    return [
        observations.capture(site, layer=of, prompt=prompts)
        if of
        else observations.capture(site, prompt=prompts)
        for site, of in layers.items()
    ]


def _stacked(run: RunResult, hooks: Sequence[Hook], batch: int) -> dict[str, Any]:
    """Each hook point's values, with the prompts along the first axis."""
    found = {
        (tensor.site, tensor.layer, tensor.prompts[0]): tensor.numpy()
        for tensor in run.tensors
        if tensor.kind == "capture"
    }
    arrays = {}
    for hook in hooks:
        rows = [found[hook.site, hook.layer, prompt] for prompt in range(batch)]
        arrays[hook.name] = rows[0][None] if batch == 1 else np.stack(rows)
    return arrays
