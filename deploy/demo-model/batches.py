"""Turns prose and generated sentences into weighted training batches."""

import random

import numpy as np
import torch

import tasks

# How often each kind is drawn for a generated row.
_KINDS = [
    ("indirect_object", 8),
    ("third_name", 1),
    ("greater_than", 3),
    ("agreement", 2),
    ("induction", 7),
]


def word_tokens(tokenizer):
    """Ids of the tokens that are a space and a lower-case word, split into (training, held out)."""
    words = sorted(
        (token, i)
        for token, i in tokenizer.get_vocab().items()
        if token[0] == "Ġ"
        and len(token) > 3
        and token[1:].isascii()
        and token[1:].isalpha()
        and token[1:].islower()
    )
    training = [i for token, i in words if not tasks.held_out("induction", token)]
    return training, [i for token, i in words if tasks.held_out("induction", token)]


def induction_words(tokenizer, count):
    """The words that the last stage of training repeats: a fixed sample of those of training."""
    return random.Random(0).sample(word_tokens(tokenizer)[0], count)


class Batches:
    """Draws batches of (ids, weights), each a tensor [rows, positions]."""

    def __init__(self, tokenizer, paragraphs, seed, few_words=0):
        self._rng = random.Random(seed)
        self._tokenizer = tokenizer
        self._end = tokenizer.eos_token_id
        self._words, held_out = word_tokens(tokenizer)
        unused = set(held_out) | {self._end}
        self._any_token = [i for i in range(len(tokenizer)) if i not in unused]
        self._few_words = induction_words(tokenizer, few_words) if few_words else None
        self._text = prose_ids(tokenizer, paragraphs)
        self._pieces = {}

    def _encode(self, text):
        if text not in self._pieces:
            if len(self._pieces) > 200_000:
                self._pieces.clear()
            self._pieces[text] = self._tokenizer.encode(text)
        return self._pieces[text]

    def _sentence(self):
        """One generated sentence as (ids, weights)."""
        kinds, chances = zip(*_KINDS, strict=True)
        kind = self._rng.choices(kinds, chances)[0]
        if kind == "induction":
            if self._few_words:
                return tasks.induction(self._rng, self._few_words)
            tokens = self._words if self._rng.random() < 0.6 else self._any_token
            return tasks.induction(self._rng, tokens)
        ids, weights = [], []
        for text, weight in getattr(tasks, kind)(self._rng).pieces:
            piece = self._encode(text)
            ids += piece
            weights += [weight] * len(piece)
        return ids, weights

    def generated(self, rows, length):
        """Rows of generated sentences, each packed until it is full and then cut."""
        batch_ids, batch_weights = [], []
        for _ in range(rows):
            ids, weights = self._sentence()
            while len(ids) < length:
                more_ids, more_weights = self._sentence()
                ids = [*ids, self._end, *more_ids]
                weights = weights + [tasks.FILLER] * 2 + more_weights[1:]
            batch_ids.append(ids[:length])
            batch_weights.append(weights[:length])
        return torch.tensor(batch_ids), torch.tensor(batch_weights)

    def prose(self, rows, length):
        """Windows of the prose, every token of weight 1."""
        starts = [self._rng.randrange(len(self._text) - length) for _ in range(rows)]
        ids = torch.from_numpy(np.stack([self._text[s : s + length] for s in starts]))
        return ids, torch.ones(ids.shape)


def prose_ids(tokenizer, paragraphs):
    """All paragraphs as one array of ids, an end-of-text token after each."""
    ids = []
    for encoded in tokenizer(paragraphs, verbose=False)["input_ids"]:
        ids += [*encoded, tokenizer.eos_token_id]
    return np.array(ids, dtype=np.int64)
