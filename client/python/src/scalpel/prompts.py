"""Prompts: text, token ids, or what a tokenizer of another library makes of a text.

Recognised by what they have, not by their type, so that no library needs to be installed: arrays
and tensors by `dtype`, a tokenizer's encodings by `input_ids` or `ids`. Anything else is
refused here: it would otherwise be run as something else, a dict as the names of its fields.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Union

from scalpel.v1 import prompt_pb2

if TYPE_CHECKING:
    import numpy.typing as npt


class HasIds(Protocol):
    """What `model.tokenize` gives, or `Encoding` of HuggingFace's tokenizers."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids."""


class HasToList(Protocol):
    """An array or tensor of any library."""

    def tolist(self) -> Any:
        """Its elements as Python has them."""


# A text, token ids, or what `model.tokenize` or HuggingFace's tokenizer gives for one text.
Prompt = Union[
    str, Sequence[int], "npt.NDArray[Any]", HasToList, HasIds, Mapping[str, Any], prompt_pb2.Prompt
]
# One, or several: any iterable, a matrix of ids, or what HuggingFace's tokenizer gives for several.
Prompts = Prompt | Iterable[Prompt]

_TAKEN = (
    "a prompt is a text (str), token ids (integers), or what a tokenizer gives (a mapping with "
    "'input_ids'); several are a list or array of them"
)


@dataclasses.dataclass(frozen=True)
class Parsed:
    """Prompts as messages."""

    messages: tuple[prompt_pb2.Prompt, ...]
    """In order."""
    one: bool
    """Whether a single prompt was given, not a list of them."""


def parse(prompts: Prompts, argument: str = "prompts") -> Parsed:
    """What an argument gives as prompts. An iterator is read to its end. Raises TypeError for what
    is no prompt and ValueError for a mask that leaves none, both with the argument's name."""
    given: Any = prompts
    if isinstance(given, prompt_pb2.Prompt):
        return Parsed((given,), one=True)
    if isinstance(given, str):
        return Parsed((prompt_pb2.Prompt(text=str(given)),), one=True)
    if _is_array(given):
        return _of_list(_listed(given, argument), argument)
    if _is_encoding(given):
        return _of_encoding(given, argument)
    if isinstance(given, (bytes, bytearray, memoryview)):
        kind = type(given).__name__
        raise TypeError(f"{argument}: {kind}; decode it, as prompt.decode('utf-8'): {_TAKEN}")
    if isinstance(given, (set, frozenset)):
        raise TypeError(f"{argument}: a set has no order; give a list: {_TAKEN}")
    if not hasattr(given, "__iter__") or hasattr(given, "keys"):
        raise _refused(given, argument)
    return _of_list(list(given), argument)


def prompt_of(prompt: Prompt, argument: str = "prompt") -> prompt_pb2.Prompt:
    """A single prompt for a request. Raises as `parse`."""
    parsed = parse(prompt, argument)
    if not parsed.one and len(parsed.messages) != 1:
        raise TypeError(f"{argument}: {len(parsed.messages)} prompts where one is meant")
    return parsed.messages[0]


def text_of(text: str, argument: str = "text") -> str:
    """A text, where token ids are no answer. Raises TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"{argument}: {type(text).__name__}; a text (str) is meant, and one")
    return str(text)


def ids_of(ids: int | Prompt, argument: str = "ids") -> list[int]:
    """Token ids, where a text is no answer: one, or those of one prompt. Raises TypeError."""
    if _is_index(ids):
        return [operator.index(ids)]  # type: ignore[arg-type]
    if isinstance(ids, (list, tuple, range)) and not ids:
        return []
    message = prompt_of(ids, argument)  # type: ignore[arg-type]
    if message.HasField("text"):
        raise TypeError(f"{argument}: token ids (integers) are meant, not a text")
    return list(message.token_ids.ids)


# ---- what is one of several kinds ----------------------------------------------------------------


def _is_array(value: Any) -> bool:
    """An array, tensor, or column of a table; a table itself has several types, and is none."""
    return hasattr(value, "dtype") and (hasattr(value, "tolist") or hasattr(value, "numpy"))


def _is_encoding(value: Any) -> bool:
    return "input_ids" in value if hasattr(value, "keys") else hasattr(value, "ids")


def _is_index(value: Any) -> bool:
    """Whether it is one integer. A tensor of one element also has `__index__`; it is a list."""
    is_whole = hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0
    is_truth = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    return is_whole and not is_truth


def _refused(value: Any, argument: str) -> TypeError:
    return TypeError(f"{argument}: {type(value).__name__} is no prompt; {_TAKEN}")


# ---- lists ---------------------------------------------------------------------------------------


def _listed(array: Any, argument: str) -> list[Any]:
    """An array's elements. Raises TypeError for one number, which is no list of token ids."""
    plain = array.tolist() if hasattr(array, "tolist") else array.numpy().tolist()
    if isinstance(plain, str):  # An array of no axes.
        return [plain]
    if not isinstance(plain, list):
        raise _refused(array, argument)
    return plain


def _of_list(elements: list[Any], argument: str) -> Parsed:
    """A list of token ids is one prompt, any other has a prompt in each place."""
    if elements and _is_index(elements[0]):
        return Parsed((_of_ids(elements, argument),), one=True)
    several = [_element(element, f"{argument}[{i}]") for i, element in enumerate(elements)]
    return Parsed(tuple(several), one=False)


def _element(element: Any, argument: str) -> prompt_pb2.Prompt:
    """A prompt of a list. A matrix of one row is one: so tokenizers give a single text."""
    parsed = parse(element, argument)
    is_list = isinstance(element, (list, tuple))
    if is_list and not element:
        return prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds())
    if not parsed.one and (is_list or len(parsed.messages) != 1):
        raise TypeError(f"{argument}: a list of prompts inside a list; {_TAKEN}")
    return parsed.messages[0]


def _of_ids(ids: Sequence[Any], argument: str) -> prompt_pb2.Prompt:
    for i, token_id in enumerate(ids):
        if not _is_index(token_id):
            kind = type(token_id).__name__
            raise TypeError(f"{argument}[{i}]: {kind} among token ids, which are integers")
    whole = [operator.index(token_id) for token_id in ids]
    return prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=whole))


# ---- what tokenizers give ------------------------------------------------------------------------


def _of_encoding(encoding: Any, argument: str) -> Parsed:
    """The ids of an encoding, of one text or of several, without what its mask hides."""
    if hasattr(encoding, "keys"):
        name, ids = f"{argument}['input_ids']", encoding["input_ids"]
        mask = encoding.get("attention_mask", None)
    else:
        name, ids = f"{argument}.ids", encoding.ids
        mask = getattr(encoding, "attention_mask", None)
    rows = _rows(ids, name)
    if rows and _is_index(rows[0]):
        shown = rows if mask is None else _shown(rows, _rows(mask, argument), argument)
        return Parsed((_of_ids(shown, name),), one=True)
    masks = [None] * len(rows) if mask is None else _rows(mask, argument)
    if len(masks) != len(rows):
        raise ValueError(f"{argument}: {len(rows)} rows of ids, and {len(masks)} of attention_mask")
    messages = []
    for i, (row, hidden) in enumerate(zip(rows, masks, strict=True)):
        row = _rows(row, f"{name}[{i}]")
        shown = row if hidden is None else _shown(row, _rows(hidden, argument), f"{argument}[{i}]")
        messages.append(_of_ids(shown, f"{name}[{i}]"))
    # What a tokenizer gives for one text has the shape of a list of one.
    return Parsed(tuple(messages), one=False)


def _rows(values: Any, argument: str) -> list[Any]:
    if _is_array(values):
        return _listed(values, argument)
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{argument}: {type(values).__name__}, where token ids are meant")
    return list(values)


def _shown(ids: Sequence[Any], mask: Sequence[Any], argument: str) -> Sequence[Any]:
    """The ids that a mask of 1 and 0 shows: padding on either side is dropped, because each prompt
    of a request has its own length and starts at position 0."""
    if len(mask) != len(ids):
        text = f"{argument}: attention_mask has {len(mask)} entries for {len(ids)} ids"
        raise ValueError(text)
    if any(one not in (0, 1) for one in mask):
        raise ValueError(f"{argument}: attention_mask has entries other than 0 and 1")
    shown = [i for i, one in enumerate(mask) if one]
    if not shown:
        raise ValueError(f"{argument}: attention_mask hides every token; leave the prompt out")
    if len(shown) != shown[-1] + 1 - shown[0]:
        raise ValueError(
            f"{argument}: attention_mask hides tokens in the middle, and a prompt has no holes; "
            "give the ids that are meant, or see `knockout` to keep tokens from being attended to"
        )
    return ids[shown[0] : shown[-1] + 1]
