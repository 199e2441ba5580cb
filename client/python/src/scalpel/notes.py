"""What is probably a slip, and cannot be seen in the answer: said as a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence

from scalpel.events import Tokens
from scalpel.metrics import Metric


class TokenWarning(UserWarning):
    """A metric asks for a word as it stands at the beginning of a text, and the model has another
    token for the same word after a space."""


def bare_words(metrics: Iterable[Metric]) -> list[str]:
    """Texts in metrics that begin with a letter, and so with no space: each once."""
    found: dict[str, None] = {}
    for metric in metrics:
        kind = metric.proto.WhichOneof("kind")
        asked = getattr(metric.proto, kind) if kind else metric.proto
        for field, value in asked.ListFields():
            if field.name.endswith("texts"):
                found.update(dict.fromkeys(text for text in value if text[:1].isalpha()))
    return list(found)


def warn_of_bare_words(words: Sequence[str], tokens: Sequence[Tokens]) -> None:
    """`tokens`: of each of the words, then of each after a space. Where a word is several tokens,
    the server refuses it."""
    both = zip(words, tokens[: len(words)], tokens[len(words) :], strict=True)
    other = [word for word, bare, spaced in both if len(bare) == len(spaced) == 1]
    if not other:
        return
    shown, meant = (", ".join(repr(space + word) for word in other) for space in ("", " "))
    are, own = ("is a token", "its") if len(other) == 1 else ("are tokens", "their")
    text = (
        f"{shown} {are} of {own} own without the space before: after a word the next one begins "
        f"with it, so {meant} may be meant. If not, give the id, such as "
        f"model.token_id({other[0]!r}), or silence scalpel.TokenWarning"
    )
    warnings.warn(text, TokenWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How far up the code is that is not this package's: a warning is about its line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("scalpel"):
        frame, level = frame.f_back, level + 1
    return level
