"""Text to tokens and back, by the server's tokenizer, under the names of TransformerLens."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from scalpel.errors import FailedPrecondition
from scalpel.events import Tokens
from scalpel.lens.arrays import Array, Kind, Maker, to_numpy
from scalpel.lens.config import HookedTransformerConfig, config_of
from scalpel.model import Model

# GPT-2 has one special token; TransformerLens takes it for the beginning, the end, and padding.
BOS = "<|endoftext|>"
# A text, several, or token ids [pos] or [batch, pos].
Input = Any


class Tokenization:
    """The methods of a `HookedTransformer` that convert between texts and tokens.

    `prepend_bos`: whether `<|endoftext|>` goes before a text; None means
    `cfg.default_prepend_bos`, which is True unless `connect` was told otherwise. It says nothing
    about token ids, which are taken as they are.
    """

    model: Model
    """The client of this package, for all that TransformerLens has no name for."""
    cfg: HookedTransformerConfig
    """The served model's configuration."""

    def __init__(self, model: Model, prepend_bos: bool, arrays: Kind | None):
        self.model = model
        self.cfg = config_of(model.info, prepend_bos)
        self.make = Maker(arrays)

    def to_tokens(
        self,
        input: str | Sequence[str],
        prepend_bos: bool | None = None,
        truncate: bool = True,
    ) -> Array:
        """Token ids [batch, pos] of a text or several, int64.

        Texts of different lengths are filled with `<|endoftext|>` on the right: what stands before
        the filling does not see it. `truncate`: what goes beyond `cfg.n_ctx` tokens is cut off.
        """
        texts = [input] if isinstance(input, str) else list(input)
        rows = [list(self._tokens(text, prepend_bos).ids) for text in texts]
        if truncate:
            rows = [row[: self.cfg.n_ctx] for row in rows]
        longest = max(map(len, rows), default=0)
        if any(len(row) < longest for row in rows):
            rows = [row + [self._pad_id] * (longest - len(row)) for row in rows]
        return self.make(np.array(rows, np.int64).reshape(len(rows), longest))

    def to_str_tokens(self, input: Any, prepend_bos: bool | None = None) -> list[Any]:
        """Each token of a text, or of ids [pos] or [1, pos], as a text of its own; of a list of
        texts or of arrays a list of such lists."""
        if isinstance(input, (list, tuple)) and not all(_is_index(one) for one in input):
            return [self.to_str_tokens(one, prepend_bos) for one in input]
        if isinstance(input, str):
            return list(self._tokens(input, prepend_bos).tokens[: self.cfg.n_ctx])
        ids = np.atleast_1d(to_numpy(input).squeeze())
        if ids.ndim != 1:
            raise ValueError(f"input: tokens of shape {ids.shape}, where one row is meant")
        return self._pieces([int(i) for i in ids])

    def to_string(self, tokens: Any) -> str | list[str]:
        """The text of ids [pos] or of one id; of ids [batch, pos] a list of texts."""
        ids = to_numpy(tokens)
        if ids.ndim > 2:
            raise ValueError(f"tokens: ids of shape {ids.shape}, where [batch, pos] is the most")
        texts = [self.model.detokenize(row.tolist()) for row in np.atleast_2d(ids)]
        return texts if ids.ndim == 2 else texts[0]

    def to_single_token(self, string: str) -> int:
        """The id of the one token that a text is, with the space before it if it has one. Raises
        `scalpel.InvalidArgument`, a ValueError, where it is several."""
        return self.model.token_id(string)

    def to_single_str_token(self, int_token: int) -> str:
        """The text of one token."""
        return str(self._pieces([int(int_token)])[0])

    def get_token_position(
        self,
        single_token: str | int,
        input: Input,
        mode: Literal["first", "last"] = "first",
        prepend_bos: bool | None = None,
    ) -> int:
        """Where a token stands in a text or in ids [pos] or [1, pos]. Raises ValueError where it
        does not."""
        if mode not in ("first", "last"):
            raise ValueError(f"mode: {mode!r} is neither 'first' nor 'last'")
        row = self.rows_of(input, prepend_bos)
        if len(row) != 1:
            raise ValueError(f"input: {len(row)} rows of tokens, where one is meant")
        is_text = isinstance(single_token, str)
        wanted = self.to_single_token(str(single_token)) if is_text else int(single_token)
        found = np.flatnonzero(row[0] == wanted)
        if not len(found):
            raise ValueError(f"single_token: {single_token!r} does not occur in the prompt")
        return int(found[0 if mode == "first" else -1])

    def rows_of(self, input: Input, prepend_bos: bool | None = None) -> Any:
        """What a call takes as input, as a numpy array of ids [batch, pos]."""
        texts = [input] if isinstance(input, str) else input
        if isinstance(texts, (list, tuple)) and texts and all(isinstance(t, str) for t in texts):
            return to_numpy(self.to_tokens(texts, prepend_bos))
        ids = to_numpy(input)
        if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or not ids.size:
            raise TypeError(
                "input: a text, a list of texts, or token ids [pos] or [batch, pos] are meant, not "
                f"{type(input).__name__} of {ids.dtype}, shape {ids.shape}"
            )
        return np.atleast_2d(ids).astype(np.int64)

    def _tokens(self, text: str, prepend_bos: bool | None) -> Tokens:
        if prepend_bos is None:
            prepend_bos = self.cfg.default_prepend_bos
        return self.model.tokenize(BOS + text if prepend_bos else text)

    @functools.cached_property
    def _pad_id(self) -> int:
        return self.model.token_id(BOS)

    def _pieces(self, ids: list[int]) -> list[str]:
        """Each token as text. The server says this of prompts, which are at most `n_ctx` long."""
        if not self.model.info.has_tokenizer:
            raise FailedPrecondition(f"no tokenizer: {self.model.info.tokenizer_problem}")
        if not ids:
            return []
        length = self.cfg.n_ctx
        parts = [ids[i : i + length] for i in range(0, len(ids), length)]
        started = self.model.validate(parts)
        return [piece for tokens in started.prompts for piece in tokens.tokens]


def _is_index(value: Any) -> bool:
    return hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0
