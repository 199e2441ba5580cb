"""Varied text for the tokenizer: a seeded generator of everything that byte-level BPE and its
pre-tokenizer tell apart."""

from collections.abc import Iterator

import numpy as np

# First and last code point of ranges that differ in what the pre-tokenizer's pattern asks: letters,
# numbers, spaces, the rest.
_BLOCKS = (
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x250, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x52F),
    (0x590, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE7F),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x209F),
    (0x2100, 0x218F),
    (0x2190, 0x23FF),
    (0x2460, 0x24FF),
    (0x2500, 0x27BF),
    (0x3000, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xAC00, 0xAD00),
    (0xE000, 0xE010),
    (0xFB00, 0xFB4F),
    (0xFE00, 0xFE2F),
    (0xFF00, 0xFFEF),
    (0x10000, 0x100FF),
    (0x10330, 0x1034A),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F64F),
    (0x1F900, 0x1F9FF),
    (0x20000, 0x20100),
)
_SPACES = (
    " \t\n\r\v\f\x1c\x1d\x1e\x1f"
    "\x85\xa0\u1680\u2000\u2003\u2009\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_CONTRACTIONS = (
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "'S",
    "'T",
    "'RE",
    "'x",
    "''",
    "'",
    "\u2019s",
    "'sa",
    "'reach",
    "'llama",
)
_WORDS = (
    "the",
    "The",
    "a",
    "house",
    "don",
    "we",
    "I",
    "antidisestablishmentarianism",
    "naïve",
    "Straße",
    "über",
    "日本語",
    "привет",
    "مرحبا",
    "שלום",
    "हिन्दी",
    "한국어",
    "ไทย",
    "e\u0301",
    "ﬁ",
    "Ⅷ",
    "½",
    "٣",
    "x²",
    "µ",
    "_",
    "__init__",
    "camelCase",
    "HTTP",
)
_CODE = (
    "def f(x):\n    return x[::-1]\n",
    "int main(void) { return 0; }",
    "a += b << 2; // c\n",
    '<div class="x">&nbsp;</div>',
    "SELECT * FROM t WHERE a='b';",
    "$HOME/.config\\n",
    '{"k": [1, 2.5e-3, null]}',
    "\t\tif (!p) goto *q;\r\n",
    "\\frac{1}{2}",
)
_EMOJI = (
    "😀",
    "👩\u200d👩\u200d👧",
    "🇩🇪",
    "👍🏽",
    "❤\ufe0f",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e007f",
)
_SPECIAL = (
    "<|endoftext|>",
    "<|endoftext|",
    " <|endoftext|>",
    "<|endoftext|><|endoftext|>",
    "|endoftext|",
    "<|im_start|>",
)


def strings(count: int, seed: int = 0) -> Iterator[str]:
    """`count` strings of all kinds, short and long."""
    rng = np.random.default_rng(seed)
    kinds = (_characters, _spaces, _words, _numbers, _code, _controls, _repeats, _mixture)
    for i in range(count):
        yield kinds[i % len(kinds)](rng)


def _pick(rng, options, most: int) -> list:
    return [
        options[int(i)] for i in rng.integers(0, len(options), size=int(rng.integers(1, most + 1)))
    ]


def _characters(rng) -> str:
    """Characters of one or two blocks."""
    text = []
    for low, high in _pick(rng, _BLOCKS, 2):
        text += map(chr, rng.integers(low, high + 1, size=int(rng.integers(1, 20))).tolist())
    return "".join(text)


def _spaces(rng) -> str:
    """Runs of white space around words."""
    return "".join(
        word
        for pair in zip(_pick(rng, _SPACES, 6), _pick(rng, (*_WORDS, "", ""), 6), strict=False)
        for word in (pair[0] * int(rng.integers(1, 5)), pair[1])
    )


def _words(rng) -> str:
    """Words with contractions and punctuation."""
    pieces = [
        word
        + "".join(_pick(rng, _CONTRACTIONS + ("",) * 8 + (".", ",", "!", "...", "?!", "—", "-"), 2))
        for word in _pick(rng, _WORDS, 12)
    ]
    return (" " if rng.random() < 0.8 else "").join(pieces)


def _numbers(rng) -> str:
    digits = [
        "".join(map(str, rng.integers(0, 10, size=int(rng.integers(1, 12)))))
        for _ in range(int(rng.integers(1, 6)))
    ]
    return "".join(
        part
        for digit in digits
        for part in (digit, _pick(rng, (" ", ".", ",", "-", "a", "٣", "²", "%"), 1)[0])
    )


def _code(rng) -> str:
    return "".join(_pick(rng, _CODE + _EMOJI, 5))


def _controls(rng) -> str:
    """Control characters, NUL among them, and characters that are not assigned."""
    return "".join(
        map(
            chr,
            rng.choice(
                [
                    *range(0x20),
                    0x41,
                    0x7F,
                    *range(0x80, 0xA0),
                    0xAD,
                    0xFFFD,
                    0xFFFF,
                    0x10FFFF,
                    0x378,
                ],
                size=int(rng.integers(1, 16)),
            ).tolist(),
        )
    )


def _repeats(rng) -> str:
    """Long runs, which merge in ways that short ones do not."""
    return "".join(
        word * int(rng.integers(1, 60))
        for word in _pick(
            rng, ("a", "ab", "=", "-", "\u2014", "0", " ", "\n", "é", "字", "😀", "hello", "zzz"), 3
        )
    )


def _mixture(rng) -> str:
    return "".join(
        _pick(rng, _WORDS + _CODE + _EMOJI + _SPECIAL + _CONTRACTIONS + tuple(_SPACES), 15)
    )


def decoded(token_bytes: bytes) -> str:
    """Bytes as the contract shows them: those that are not UTF-8 as U+FFFD."""
    return token_bytes.decode("utf-8", errors="replace")
