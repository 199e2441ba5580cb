"""golden/tokenizers.json.gz: what versions of transformers make of the folders of
`tokenizer_folders`, and folders that they saved. Read without transformers; `make_tokenizers`
writes it."""

import gzip
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from tests.parity import tokenizer_folders
from tests.parity.tokenizer_folders import Files

FILE = pathlib.Path(__file__).parent / "golden" / "tokenizers.json.gz"
TEXTS = 10_000
CHUNK = 100  # texts that share a digest
SEED = 5


def load() -> dict[str, Any]:
    """By version: `saved`, folders that it wrote; `answers`, by folder: digests of the ids of each
    chunk of texts, or the error."""
    return json.loads(gzip.decompress(FILE.read_bytes())) if FILE.exists() else {}


def save(golden: dict[str, Any]) -> None:
    text = json.dumps(golden, separators=(",", ":"), sort_keys=True)
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))


def digest(ids: list[list[int]]) -> str:
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:8]


def chunks(files: Files) -> Iterator[list[str]]:
    texts = list(tokenizer_folders.texts(files, TEXTS, SEED))
    for begin in range(0, TEXTS, CHUNK):
        yield texts[begin : begin + CHUNK]


def with_vocabulary(files: Files) -> Files:
    """A saved folder, whole."""
    files = json.loads(json.dumps(files))
    whole = tokenizer_folders.fast()["tokenizer.json"]["model"]
    if "tokenizer.json" in files:
        model = files["tokenizer.json"]["model"]
        model["vocab"], model["merges"] = whole["vocab"], whole["merges"]
    if "vocab.json" in files:
        files |= {name: tokenizer_folders.slow()[name] for name in ("vocab.json", "merges.txt")}
    return files
