"""Phrases about numbers, chosen by the numbers: whatever a model answers, they are true of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalpel.report.parts import number
from scalpel.token_text import has_text

if TYPE_CHECKING:
    from scalpel.events import TokenLogit, Tokens
    from scalpel.run_result import RunResult


def change(before: float, after: float) -> str:
    """`rises from 1 to 2`, `falls from 2 to 1`, `stays at 1` or `goes from 1 to NaN`: to the digits
    that are shown."""
    if number(before) == number(after):
        return f"stays at {number(before)}"
    verb = "rises" if after > before else "falls" if after < before else "goes"
    return f"{verb} from {number(before)} to {number(after)}"


def percent(share: float) -> str:
    """A share; one that is too small to be shown is said to be so."""
    if 0 < share < 0.0005:
        return "less than 0.1%"
    return f"{100 * share:.1f}%" if math.isfinite(share) else number(share)


def ratio(value: float, reference: float) -> str:
    """`52.5% of` or `3.2 times` another value."""
    if reference == 0 or not math.isfinite(value / reference):
        return f"{number(value)} against"
    share = value / reference
    return f"{percent(share)} of" if share < 2 else f"{number(share)} times"


def at_most(value: float, nothing: str, something: str) -> str:
    """`nothing` where the value is 0, else `something` with the value."""
    return nothing if value == 0 else something.format(number(value))


def position_name(prompt: Tokens, position: int) -> str:
    """`position 2, “ and”`."""
    token_id, text = prompt.ids[position], prompt.tokens[position] if prompt.tokens else ""
    name = f"“{text}”" if has_text(text, token_id) else f"token {token_id}"
    return f"position {position}, {name}"


def token_name(token: TokenLogit) -> str:
    """`“ Mary”`, or by id where it has no text; `NaN` where there is none."""
    if token.token_id < 0:
        return token.shown
    is_text = has_text(token.token, token.token_id)
    return f"“{token.token}”" if is_text else f"token {token.token_id}"


def prediction(run: RunResult, prompt: int = 0) -> str:
    """What becomes of the most probable next token."""
    clean, edited = run.top(prompt=prompt, clean=True)[0], run.top(prompt=prompt)[0]
    if clean.token_id == edited.token_id:
        shares = f"at {percent(clean.prob)} clean and {percent(edited.prob)} edited"
        return f"The most probable next token stays {token_name(clean)}, {shares}."
    before = f"{token_name(clean)} ({percent(clean.prob)})"
    after = f"{token_name(edited)} ({percent(edited.prob)})"
    return f"The most probable next token changes from {before} to {after}."


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
