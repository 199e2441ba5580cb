"""Typed edits, which stand where a hook function stands in TransformerLens.

>>> model.run_with_hooks(tokens, fwd_hooks=[("blocks.9.attn.hook_z", lens.zero(head=6))])

The hook point says where, the edit what: one for each operation of `scalpel`, without its site. The
selectors are those of `scalpel.Where` (`head`, `position`, `query`, `key`, `unit`, `prompt`), and
an array given to `set_` or `add` meets the selected part as in `x[...] = value`: an index takes its
axis away, a list or slice keeps it, and the array may begin with the batch axis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scalpel import operations
from scalpel.lens.arrays import to_numpy
from scalpel.lens.names import Hook
from scalpel.operations import Operation
from scalpel.place import Indices, Positions, Where, index_list, is_one
from scalpel.spec import written

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from scalpel.operations import Value

# A hook point by name, or those of whose names a function is true; and what is done there.
FwdHook = tuple[str | Callable[[str], bool], "Edit"]

# For an axis of a hook point, the selectors that narrow it.
_SELECTORS = {
    "position": ("position", "query"), "query": ("position", "query"), "key": ("key",),
    "head": ("head",), "unit": ("unit",),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Edit:
    """What is done at a hook point: made by `zero`, `scale` and the other functions here."""

    written: str
    """The call that made it, such as `zero(head=6)`."""
    make: Callable[..., Operation]
    """The operation, of its site, of `values` and of selectors."""
    values: dict[str, Any]
    """The operation's own arguments."""
    where: Where
    """Which part of the hook point."""
    source: Any = None
    """Of `patch`: the input whose clean run is read."""

    def __repr__(self) -> str:
        return self.written

    def operations(self, hook: Hook, batch: int, sources: Sequence[int] = ()) -> list[Operation]:
        """The operations on `batch` prompts, which are the first of a request. `sources`: the
        prompts of the request that hold the rows of `source`."""
        where = _within(self.where, batch)
        if self.source is not None:
            return self._patches(hook, where, batch, sources)
        value = self.values.get("value")
        if np.ndim(to_numpy(value) if value is not None else 0) == 0:
            return [self.make(hook.name, **self.values, **where)]
        rows = _by_prompt(to_numpy(value), hook, where)
        if len(rows) == 1:
            return [self.make(hook.name, **{**self.values, "value": rows[0]}, **where)]
        prompts = index_list(where["prompt"], "prompt")
        if len(rows) != len(prompts):
            raise ValueError(f"{self}: {len(rows)} rows of values for {len(prompts)} prompts")
        return [
            self.make(hook.name, **{**self.values, "value": row}, **_only(where, prompt))
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def _patches(
        self, hook: Hook, where: Where, batch: int, sources: Sequence[int]
    ) -> list[Operation]:
        if len(sources) not in (1, batch):
            raise ValueError(f"{self}: {len(sources)} rows of the source for {batch} prompts")
        return [
            self.make(
                hook.name,
                **self.values,
                from_clean=sources[0 if len(sources) == 1 else prompt],
                **_only(where, prompt),
            )
            for prompt in index_list(where["prompt"], "prompt")
        ]


def _within(where: Where, batch: int) -> Where:
    """The selectors with the prompts written out, as the request counts them."""
    prompts = np.arange(batch)[where["prompt"] if where.get("prompt") is not None else slice(None)]
    made = where.copy()
    made["prompt"] = [int(i) for i in np.atleast_1d(prompts)]
    return made


def _only(where: Where, prompt: int) -> Where:
    made = where.copy()
    made["prompt"] = prompt
    return made


def _by_prompt(value: Any, hook: Hook, where: Where) -> Any:
    """The value of each prompt, or one for all: [row, ...], with an axis of length 1 for each that
    an index takes away."""
    taken = [_is_taken(where, axis) for axis in hook.axes]
    kept = taken.count(False)
    if value.ndim > kept + 1:
        raise ValueError(
            f"value: {value.ndim} axes at {hook.name}, where {kept} are selected beside the batch"
        )
    rows = value if value.ndim == kept + 1 else value[None]
    missing = kept + 1 - rows.ndim  # Numpy aligns at the last axis.
    lengths = iter((*(1,) * missing, *rows.shape[1:]))
    return rows.reshape(len(rows), *(1 if is_taken else next(lengths) for is_taken in taken))


def _is_taken(where: Where, axis: str) -> bool:
    given = [where.get(name) for name in _SELECTORS[axis] if where.get(name) is not None]
    return bool(given) and is_one(given[0])  # type: ignore[arg-type]


# ---- one for each operation ----------------------------------------------------------------------


def zero(**where: Unpack[Where]) -> Edit:
    """x becomes 0: `z[:, :, 6] = 0` is `zero(head=6)` at `hook_z`."""
    return Edit(written("zero", **where), operations.zero, {}, where)


def scale(factor: float, **where: Unpack[Where]) -> Edit:
    """x becomes `factor` * x."""
    return Edit(written("scale", factor, **where), operations.scale, {"factor": factor}, where)


def add(value: Value, *, coefficient: float | None = None, **where: Unpack[Where]) -> Edit:
    """x becomes x + `coefficient` * `value`, a number or an array: `resid + 2 * v` is
    `add(v, coefficient=2)`."""
    values = {"value": value, "coefficient": coefficient}
    call = written("add", value, coefficient=coefficient, **where)
    return Edit(call, operations.add, values, where)


def set_(value: Value, **where: Unpack[Where]) -> Edit:
    """x becomes `value`, a number or an array: `z[:, 3] = v` is `set_(v, position=3)`."""
    return Edit(written("set_", value, **where), operations.set_, {"value": value}, where)


def noise(
    std: float | None = None,
    *,
    mean: float | None = None,
    mode: Literal["replace", "add"] = "replace",
    seed: int | None = None,
    **where: Unpack[Where],
) -> Edit:
    """x becomes Gaussian noise, or x + noise, as `scalpel.noise` says."""
    values = {"std": std, "mean": mean, "mode": mode, "seed": seed}
    call = written("noise", std, mean=mean, mode=mode, seed=seed, **where)
    return Edit(call, operations.noise, values, where)


def clamp(min: float | None = None, max: float | None = None, **where: Unpack[Where]) -> Edit:
    """x is limited to `min` ... `max`; one of them may be left out."""
    call = written("clamp", min=min, max=max, **where)
    return Edit(call, operations.clamp, {"min": min, "max": max}, where)


def mean(*, over: Positions | None = None, **where: Unpack[Where]) -> Edit:
    """x becomes its mean over the prompt's positions, or over the positions `over`: what
    `x.mean(dim=1, keepdim=True)` is."""
    return Edit(written("mean", over=over, **where), operations.mean, {"over": over}, where)


def project_out(direction: Value, *, factor: float | None = None, **where: Unpack[Where]) -> Edit:
    """Removes the component along `direction`, or multiplies it by `factor`."""
    call = written("project_out", direction, factor=factor, **where)
    return Edit(call, operations.project_out, {"direction": direction, "factor": factor}, where)


def knockout(pairs: Sequence[tuple[int, int]] = (), **where: Unpack[Where]) -> Edit:
    """At `hook_attn_scores`: the query cannot see the key, and the row's other weights grow:
    `scores[:, :, q, k] = -inf`."""

    def make(name: str, **keywords: Any) -> Operation:
        return operations.knockout(pairs, site=name, **keywords)

    return Edit(written("knockout", list(pairs) or None, **where), make, {}, where)


def patch(
    source: Any,
    *,
    from_position: Positions | None = None,
    from_key: Positions | None = None,
    from_head: Indices | None = None,
    from_layer: int | None = None,
    **where: Unpack[Where],
) -> Edit:
    """x becomes the value of the same place in the clean run of `source`: a text, token ids, or an
    `ActivationCache`, whose tokens are run again. One row for all prompts, or one for each.

    `x[:, 3] = clean_cache[hook.name][:, 3]` is `patch(clean_tokens, position=3)`. `from_position`
    and the others say what is read where that is not what is written.
    """
    values = {
        "from_position": from_position, "from_key": from_key, "from_head": from_head,
        "from_layer": from_layer,
    }  # fmt: skip
    source = getattr(source, "clean_tokens", source)
    call = written("patch", source, **values, **where)
    return Edit(call, operations.patch, values, where, source)
