"""Tokens as people read them. Some ids have no text: those beyond the tokenizer, where a model has
more rows than its tokenizer has tokens, and all of a model without a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence


def decoded(text: str, token_id: int) -> str:
    """A token's text as results hold it. A server says `[50300]` of an id that its tokenizer does
    not have, which looks like a text; here it is `<50300>`."""
    return named(token_id) if text == f"[{token_id}]" else text


def named(token_id: int) -> str:
    """A token that has no text: `<50300>`. A negative id is none: there was no order among logits
    that are not numbers."""
    return "NaN" if token_id < 0 else f"<{token_id}>"


def has_text(text: str, token_id: int) -> bool:
    """Whether a token of a result has a text of its own."""
    return text not in ("", named(token_id))


def quoted(text: str, token_id: int) -> str:
    """`" Mary"`, or `<50300>` without quotes."""
    return f'"{text}"' if has_text(text, token_id) else named(token_id)


def relabelled(label: str, ids: Sequence[int]) -> str:
    """A server's label of a position of this prompt, such as `3 " Mary"`: `3 "[50300]"` becomes
    `3 <50300>`."""
    match = re.fullmatch(r'(\d+) "\[(\d+)\]"', label)
    if match is None or int(match[1]) >= len(ids) or ids[int(match[1])] != int(match[2]):
        return label
    return f"{match[1]} {named(int(match[2]))}"
