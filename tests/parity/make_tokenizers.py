"""Writes what the installed transformers makes of the folders of `tokenizer_folders`, into
golden/tokenizers.json.gz: `python -m tests.parity.make_tokenizers`. It needs no torch, and leaves
what other versions have written there.

Run it with each version that tests/README.md names, whenever the folders or their texts change;
then with the first one again, which so reads the folders that the others saved. Folders that this
version saves itself, by its fast tokenizer and its slow one, are kept whole.
"""

import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import transformers
from transformers import AddedToken, AutoTokenizer

from tests.parity import tokenizer_folders, tokenizer_golden
from tests.parity.tokenizer_folders import Files


def main() -> None:
    golden = tokenizer_golden.load()
    version = transformers.__version__
    saved = dict(_saved())
    golden[version] = {
        "saved": {name: _without_vocabulary(files) for name, files in saved.items()},
        "answers": {name: _answers(files) for name, files in tokenizer_folders.folders().items()},
    }
    for other in golden:
        for name, files in golden[other]["saved"].items():
            golden[version]["answers"][name] = _answers(tokenizer_golden.with_vocabulary(files))
    tokenizer_golden.save(golden)


def _without_vocabulary(files: Files) -> Files:
    """The same without what every folder has."""
    files = json.loads(json.dumps(files))
    if "tokenizer.json" in files:
        for name in ("vocab", "merges"):
            files["tokenizer.json"]["model"].pop(name)
    for name in ("vocab.json", "merges.txt"):
        if name in files:
            files[name] = ""
    return files


def _saved() -> Iterator[tuple[str, Files]]:
    version = transformers.__version__
    for name, files, use_fast in (
        ("from vocab.json", tokenizer_folders.slow(), True),
        ("from tokenizer.json", tokenizer_folders.fast(), True),
        ("slow", tokenizer_folders.slow(), False),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            loaded = AutoTokenizer.from_pretrained(
                tokenizer_folders.write(folder / "model", files), use_fast=use_fast
            )
            _add_tokens(loaded)
            loaded.save_pretrained(folder / "saved")
            yield f"saved by {version}, {name}", _read(folder / "saved")


def _add_tokens(tokenizer) -> None:
    tokenizer.add_special_tokens(
        {"pad_token": "<pad>", "mask_token": AddedToken("<mask>", lstrip=True, special=True)}
    )
    tokenizer.add_tokens([AddedToken("word", single_word=True), "<new>"])


def _read(folder: pathlib.Path) -> Files:
    return {
        path.name: json.loads(path.read_text()) if path.suffix == ".json" else path.read_text()
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".txt")
    }


def _answers(files: Files) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                tokenizer_folders.write(pathlib.Path(name) / "model", files)
            )
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        ids = [_ids(tokenizer, texts) for texts in tokenizer_golden.chunks(files)]
    return {
        "digests": [tokenizer_golden.digest(chunk) for chunk in ids],
        "panics": [i for i, one in enumerate(one for chunk in ids for one in chunk) if one is None],
    }


def _ids(tokenizer, texts: list[str]) -> list[list[int] | None]:
    """None where the tokenizers library panics: it does when a token begins in the white space that
    the one before it took."""
    found: list[list[int] | None] = []
    for text in texts:
        try:
            found.append(tokenizer(text)["input_ids"])
        except BaseException as panic:
            if type(panic).__name__ != "PanicException":
                raise
            found.append(None)
    return found


if __name__ == "__main__":
    main()
