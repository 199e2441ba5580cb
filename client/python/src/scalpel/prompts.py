"""Prompts: text, or token ids."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from scalpel.v1 import spec_pb2

if TYPE_CHECKING:
    import numpy.typing as npt

# Text, or token ids.
Prompt = Union[str, Sequence[int], "npt.NDArray[Any]"]
# One prompt, or several of any length: a matrix of token ids is one for each row.
Prompts = Union[Prompt, Sequence[Prompt]]


def prompt_of(prompt: Prompt) -> spec_pb2.Prompt:
    """A prompt for a request."""
    if isinstance(prompt, spec_pb2.Prompt):
        return prompt
    if isinstance(prompt, str):
        return spec_pb2.Prompt(text=prompt)
    ids = [operator.index(i) for i in prompt]
    return spec_pb2.Prompt(token_ids=spec_pb2.TokenIds(ids=ids))


def is_one_prompt(prompts: Prompts) -> bool:
    """Whether it is one prompt, not a list of them."""
    if isinstance(prompts, (str, spec_pb2.Prompt)):
        return True
    if hasattr(prompts, "ndim"):
        return int(prompts.ndim) == 1
    return len(prompts) > 0 and isinstance(prompts[0], (int, np.integer))


def prompts_of(prompts: Prompts) -> list[spec_pb2.Prompt]:
    """Prompts for a request."""
    if is_one_prompt(prompts):
        return [prompt_of(prompts)]  # type: ignore[arg-type]
    return [prompt_of(prompt) for prompt in prompts]  # type: ignore[arg-type]
