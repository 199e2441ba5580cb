"""English prose for the demo model: the Jargon File as Debian's package dict-jargon ships it."""

import gzip
import re

# Typographic characters of the source, as a keyboard types them.
_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "…": "..."})
_SHORTEST_PARAGRAPH = 80  # characters; shorter ones are dates, captions and cross references
_HELD_OUT_EVERY = 20  # every twentieth paragraph is kept for evaluation


def _paragraphs(path):
    """Yields the prose paragraphs of a dictd database, each joined to one line.

    Prose is indented by exactly four spaces; headwords are not indented at all, and program
    listings and pictures are indented further.
    """
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for block in re.split(r"\n\s*\n", file.read()):
            lines = block.strip("\n").split("\n")
            if not all(re.match(r" {4}\S", line) for line in lines):
                continue
            text = " ".join(line.strip() for line in lines).translate(_PLAIN)
            text = re.sub(r"\s+", " ", re.sub(r"\{\s*|\s*\}", "", text))  # {cross reference}
            text = re.sub(r'(^|[ (])" ', r'\1"', text)
            if len(text) >= _SHORTEST_PARAGRAPH:
                yield text


def load(path):
    """Returns (training paragraphs, held-out paragraphs)."""
    paragraphs = list(_paragraphs(path))
    held_out = paragraphs[::_HELD_OUT_EVERY]
    training = [p for i, p in enumerate(paragraphs) if i % _HELD_OUT_EVERY]
    return training, held_out
