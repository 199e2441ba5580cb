"""Builds the byte-level BPE vocabulary, with numbers cut into pairs of digits."""

import json
import string

from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2TokenizerFast
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

END_OF_TEXT = "<|endoftext|>"
_SPACE = bytes_to_unicode()[ord(" ")]


def _digit_merges():
    """Merges that cut " 1732" into " 17" and "32".

    Their order matters: a space takes its first digit, then its second, and only then do the
    digits that are left pair up.
    """
    digits = string.digits
    merges = [(_SPACE, a) for a in digits]
    merges += [(_SPACE + a, b) for a in digits for b in digits]
    merges += [(a, b) for a in digits for b in digits]
    return merges


def _learned_merges(texts, count):
    """The first `count` merges of BPE on `texts`, whose digits are left out."""
    bare = str.maketrans("", "", string.digits)
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        (t.translate(bare) for t in texts),
        vocab_size=256 + count,
        min_frequency=2,
        show_progress=False,
    )
    merges = json.loads(trainer.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]


def build(texts, size, folder):
    """Writes vocab.json and merges.txt of `size` tokens into `folder`; returns the tokenizer."""
    symbols = list(bytes_to_unicode().values())
    merges = _digit_merges()
    merges += _learned_merges(texts, size - len(symbols) - len(merges) - 1)
    tokens = symbols + [a + b for a, b in merges] + [END_OF_TEXT]
    if len(set(tokens)) != size:
        raise ValueError(
            f"the vocabulary has {len(set(tokens))} tokens, not {size}: "
            "lower --vocab_size or give more text"
        )
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load(folder)


def load(folder):
    """Returns the tokenizer of `folder`, read from vocab.json and merges.txt."""
    return GPT2TokenizerFast(
        vocab_file=str(folder / "vocab.json"), merges_file=str(folder / "merges.txt")
    )


def require_single_tokens(tokenizer, words):
    """Raises ValueError for words that are not one token, at a start and after a space."""
    split = [w for word in words for w in (word, " " + word) if len(tokenizer.encode(w)) != 1]
    if split:
        raise ValueError(f"these words are several tokens: {split}; raise --vocab_size")
