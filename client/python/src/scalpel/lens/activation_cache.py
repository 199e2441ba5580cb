"""Activations by the names of their hook points."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from typing import Any

from scalpel.lens.arrays import Array
from scalpel.lens.edits import Edit
from scalpel.lens.names import Hook, get_act_name
from scalpel.lens.runs import Served
from scalpel.lens.slices import Slice
from scalpel.lens.stacks import ResidualStacks


class ActivationCache(ResidualStacks):
    """What `run_with_cache` brought: a mapping from names of hook points to arrays.

    >>> cache["blocks.3.attn.hook_pattern"]  # [batch, head, query, key]
    >>> cache["pattern", 3]                  # the same
    >>> cache["resid_post", -1], cache["scale", 4, "ln1"], cache["embed"]
    """

    cache_dict: dict[str, Array]
    """The arrays by full name, in order of computation."""

    def __init__(
        self,
        model: Served,
        cache_dict: dict[str, Array],
        tokens: Any,
        edits: Sequence[tuple[Hook, Edit]] = (),
        pos_slice: Any = None,
        has_batch_dim: bool = True,
    ):
        self.model, self.cache_dict, self.has_batch_dim = model, cache_dict, has_batch_dim
        self._tokens, self._edits = tokens, tuple(edits)
        self._positions = Slice.keeping_axis(pos_slice)

    @property
    def tokens(self) -> Array:
        """The token ids that were run, [batch, pos]."""
        return self.model.make(self._tokens)

    @property
    def clean_tokens(self) -> Any:
        """The same, of a run without edits; to be patched from. Raises ValueError for another."""
        if self._edits:
            raise ValueError(
                "this cache was made under edits, and a patch reads a clean run of its tokens; "
                "write its values with set_, or make the cache outside of `hooks`"
            )
        return self._tokens

    def __getitem__(self, key: Any) -> Array:
        """An activation by its full name, its short one, or (name, layer, part)."""
        if isinstance(key, str):
            name = key if key in self.cache_dict else get_act_name(key)
        else:
            short, layer, *part = (*key, None) if len(key) == 1 else key
            if layer is not None and layer < 0:
                layer += self.model.cfg.n_layers
            name = get_act_name(short, layer, *part)
        if name not in self.cache_dict:
            hook = self.model.hooks_of_model.find(name)
            raise KeyError(f"{hook.name} was not kept by run_with_cache")
        return self.cache_dict[name]

    def __contains__(self, name: object) -> bool:
        return name in self.cache_dict

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def keys(self) -> KeysView[str]:
        """Full names."""
        return self.cache_dict.keys()

    def values(self) -> ValuesView[Array]:
        """The arrays."""
        return self.cache_dict.values()

    def items(self) -> ItemsView[str, Array]:
        """Full names and arrays."""
        return self.cache_dict.items()

    def remove_batch_dim(self) -> ActivationCache:
        """Takes the batch's axis away, in place. Raises ValueError where it is longer than 1."""
        if self.has_batch_dim:
            if len(self._tokens) != 1:
                raise ValueError(f"a batch of {len(self._tokens)} has an axis that is needed")
            self.cache_dict = {name: array[0] for name, array in self.cache_dict.items()}
            self.has_batch_dim = False
        return self

    def compute_head_results(self) -> None:
        """Adds what each head writes, `attn.hook_result`, where it is not there yet: the server
        runs the same tokens under the same edits once more."""
        hooks = [
            self.model.hooks_of_model.find(get_act_name("result", layer))
            for layer in range(self.model.cfg.n_layers)
        ]
        missing = [hook for hook in hooks if hook.name not in self.cache_dict]
        if missing:
            made = self.model.activations(self._tokens, self._edits, missing, with_logits=False)
            self.cache_dict.update(self.cut(made.arrays, missing))

    def cut(self, arrays: Any, hooks: Sequence[Hook]) -> dict[str, Array]:
        """Arrays of a run as this cache holds them: its positions, with or without a batch."""
        kept = {}
        for hook in hooks:
            array = arrays[hook.name]
            # The position, or the query, is the axis before the last, but with a head between.
            dim = -3 if hook.axes[-2] == "head" else -2
            array = self._positions.apply(array, dim)
            kept[hook.name] = self.model.make(array if self.has_batch_dim else array[0])
        return kept

    def __repr__(self) -> str:
        return f"ActivationCache with keys {list(self.cache_dict)}"
