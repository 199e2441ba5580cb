"""Tokenizers as folders hold them: the bundled model's vocabulary, and the ways in which the files
of transformers add tokens to it. And text that tells them apart."""

import copy
import functools
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.fault import model_folders
from tests.parity import strings
from tests.support import environment

# A file's name, and its JSON or text.
Files = dict[str, Any]

SPEAKERS = ("<speaker1>", "<speaker2>", "<pad>")
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
END = "<|endoftext|>"
RANDOM_FOLDERS = 40


@functools.cache
def _base() -> tuple[dict[str, int], str, dict]:
    folder = environment.model_dir()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    return vocabulary, (folder / "merges.txt").read_text(), tokenizer


def size() -> int:
    """Tokens of the vocabulary, whose ids have no gaps: the next new token's id."""
    return len(_base()[0])


def _model_vocabulary() -> int:
    return size() + 16


def slow(*more: str, **files: Any) -> Files:
    """vocab.json, with `more` tokens at its end, and merges.txt; and further JSON files."""
    vocabulary, merges, _ = _base()
    vocabulary = vocabulary | {token: size() + i for i, token in enumerate(more)}
    named = {f"{name}.json": content for name, content in files.items()}
    return {"vocab.json": vocabulary, "merges.txt": merges, **named}


def fast(*added: dict, change: dict | None = None, **files: Any) -> Files:
    """tokenizer.json, with further entries of `added_tokens` and other fields; further files."""
    tokenizer = copy.deepcopy(_base()[2]) | (change or {})
    ids = _ids([entry["content"] for entry in added])
    tokenizer["added_tokens"] += [
        {"id": i, **token(**entry)} for i, entry in zip(ids, added, strict=True)
    ]
    named = {f"{name}.json": content for name, content in files.items()}
    return {"tokenizer.json": tokenizer, **named}


def _ids(contents: list[str]) -> list[int]:
    """The vocabulary's, and for those that it lacks the next ones."""
    new = itertools.count(size())
    return [_base()[0].get(content) or next(new) for content in contents]


def token(content: str, **flags: bool) -> dict:
    """An added token with all flags, as files have it."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    return {"content": content, **plain, "normalized": True, **flags}


def write(folder: pathlib.Path, files: Files) -> pathlib.Path:
    """A folder with these files and a model of one layer of zeros, with room for new tokens."""
    model_folders.write_zeros(folder, vocab_size=_model_vocabulary())
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def folders() -> dict[str, Files]:
    """Folders by name. What transformers makes of them is in golden/tokenizers.json.gz."""
    return {**_hand_made(), **{f"random {seed}": _random(seed) for seed in range(RANDOM_FOLDERS)}}


def _hand_made() -> dict[str, Files]:
    return {**_added_tokens(), **_settings(), **_corners()}


def _added_tokens() -> dict[str, Files]:
    """Added and special tokens in every file that may have them, with every flag."""
    additional = {"additional_special_tokens": list(SPEAKERS)}
    mask = token("<mask>", lstrip=True, normalized=False, special=True)
    decoder = {
        str(size()): token("<mask>", lstrip=True, normalized=False, special=True),
        str(size() + 1): token("word", single_word=True),
        str(size() + 2): token("<both>", lstrip=True, rstrip=True),
    }
    return {
        "plain": slow(),
        "plain, fast": fast(),
        "additional in the map": slow(*SPEAKERS, special_tokens_map=additional),
        "additional in the config": slow(*SPEAKERS, tokenizer_config=additional),
        "additional and new": slow(special_tokens_map=additional),
        "pad in the map": slow(special_tokens_map={"pad_token": "[PAD]"}),
        "pad in the map, fast": fast(special_tokens_map={"pad_token": "[PAD]"}),
        "mask in the map": slow(special_tokens_map={"mask_token": mask}),
        "mask in the map, fast": fast(special_tokens_map={"mask_token": mask}),
        "flags in the map": slow(
            special_tokens_map={
                "cls_token": {"content": "<cls>", "rstrip": True},
                "sep_token": {"content": "sep", "single_word": True},
                "additional_special_tokens": [
                    {"content": "<both>", "lstrip": True, "rstrip": True}
                ],
            }
        ),
        "flags in the decoder": slow(tokenizer_config={"added_tokens_decoder": decoder}),
        "flags in the decoder, fast": fast(
            *decoder.values(),
            tokenizer_config={"added_tokens_decoder": decoder, "mask_token": "<mask>"},
        ),
        "flags in tokenizer.json": fast(*decoder.values()),
        "added": slow(added_tokens={"<old>": size(), "<older>": size() + 1, " spaced": size() + 2}),
        "added and special": slow(
            added_tokens={"<old>": size()}, special_tokens_map={"pad_token": "<old>"}
        ),
        "overlapping": fast(
            token("<x"), token("<x>"), token(">!", normalized=False), token("x>", special=True)
        ),
    }


def _settings() -> dict[str, Files]:
    """Settings and classes of tokenizer_config.json."""
    identity = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    }
    return {
        "prefix space": slow(tokenizer_config={"add_prefix_space": True}),
        "prefix space, fast": fast(token("<new>"), tokenizer_config={"add_prefix_space": True}),
        "split": fast(
            token("<new>", special=True, normalized=False),
            token("<plain>"),
            tokenizer_config={"split_special_tokens": True},
        ),
        "identity": fast(
            token("<new>"),
            change={"post_processor": identity},
            tokenizer_config={"tokenizer_class": "GPT2Tokenizer", "bos_token": END},
        ),
        "any tokenizer": fast(
            token("<new>"), tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"}
        ),
        "typed in the config": slow(
            tokenizer_config={
                "pad_token": {"__type": "AddedToken", **token("<pad>", lstrip=True)},
                "mask_token": {"__type": "AddedToken", "content": "<mask>", "rstrip": True},
            }
        ),
        "roles that are null": slow(
            special_tokens_map={"pad_token": "<pad>"},
            tokenizer_config={"bos_token": None, "eos_token": None, "unk_token": "[UNK]"},
        ),
    }


def _corners() -> dict[str, Files]:
    """What is rare, and what another version of transformers writes."""
    padding = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": size(),
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return {
        "extra by name": fast(tokenizer_config={"extra_special_tokens": {"image_token": "<img>"}}),
        "extra as a list": fast(tokenizer_config={"extra_special_tokens": ["<img>", "<snd>"]}),
        "padding in tokenizer.json": fast(change={"padding": padding}),
        "truncation in tokenizer.json": fast(change={"truncation": truncation}),
        "a flag that the template overrules": fast(tokenizer_config={"add_bos_token": True}),
        "a class of transformers 5": fast(
            token("<new>"), tokenizer_config={"tokenizer_class": "TokenizersBackend"}
        ),
        "a prefix space of the tokenizer's own": fast(
            token("<new>"), change={"pre_tokenizer": {**byte_level, "add_prefix_space": True}}
        ),
        "a class in config.json": fast(
            token("<new>"),
            config={
                **model_folders.CONFIG,
                "vocab_size": _model_vocabulary(),
                "tokenizer_class": "PreTrainedTokenizerFast",
            },
        ),
        "spaces": fast(token("  "), token("\n\n", lstrip=True), token(" a", rstrip=True)),
        "unicode": slow(
            special_tokens_map={
                "pad_token": "〈字〉",
                "mask_token": {"content": "é", "single_word": True},
            }
        ),
    }


_CONTENTS = (
    "<a>",
    "<b>",
    "[PAD]",
    "<a",
    "a>",
    " x",
    "the",
    "word",
    "é",
    "<s> ",
    "99",
    "_t",
    "<b>!",
)


def _random(seed: int) -> Files:
    """Tokens with any flags, in any of the files."""
    rng = np.random.default_rng(seed)

    def flip(chance: float = 0.5) -> bool:
        return bool(rng.random() < chance)

    def some(most: int) -> list[str]:
        count = int(rng.integers(0, most + 1))
        return [str(content) for content in rng.permutation(_CONTENTS)[:count]]

    def flagged(content: str, special: bool) -> dict:
        return token(content, special=special, **{flag: flip(0.3) for flag in FLAGS})

    def named(content: str) -> str | dict:
        return content if flip() else flagged(content, special=True)

    def roles(most: int, named) -> dict:
        return {
            str(role): named(one)
            for role, one in zip(rng.permutation(ROLES), some(most), strict=False)
        }

    in_map = roles(4, named)
    if flip():
        in_map["additional_special_tokens"] = some(3)
    listed = [flagged(content, special=flip()) for content in some(4)]
    config: dict[str, Any] = {}
    if flip(0.3):
        config["add_prefix_space"] = flip()
    if flip(0.3):
        config |= roles(3, str)
    files = {"special_tokens_map": in_map, "tokenizer_config": config}
    if flip():
        return fast(*listed, **files)
    ids = _ids([entry["content"] for entry in listed])
    if flip():
        files["added_tokens"] = {entry["content"]: i for i, entry in zip(ids, listed, strict=True)}
    else:
        config["added_tokens_decoder"] = {
            str(i): entry for i, entry in zip(ids, listed, strict=True)
        }
    return slow(**files)


def contents(files: Files) -> list[str]:
    """The texts of the tokens that the files name beside the vocabulary."""
    found = {END}

    def visit(value: Any) -> None:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, list):
            for entry in value:
                visit(entry)
        elif isinstance(value, dict):
            visit(value.get("content", ""))

    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for role in (*ROLES, "additional_special_tokens"):
            visit(files.get(name, {}).get(role))
    decoder = files.get("tokenizer_config.json", {}).get("added_tokens_decoder", {})
    visit(list(decoder.values()))
    extra = files.get("tokenizer_config.json", {}).get("extra_special_tokens", [])
    visit(list(extra.values()) if isinstance(extra, dict) else extra)
    visit(files.get("tokenizer.json", {}).get("added_tokens", []))
    visit((files.get("tokenizer.json", {}).get("padding") or {}).get("pad_token"))
    found.update(files.get("added_tokens.json", {}))
    return sorted(found - {""})


_AROUND = (
    "",
    "",
    " ",
    "  ",
    "\n",
    "\t",
    "\u3000",
    "\u00a0",
    "a",
    "_",
    "1",
    "é",
    "\u0301",
    "字",
    "!",
    "<",
)


def texts(files: Files, count: int, seed: int = 0) -> Iterator[str]:
    """`count` texts that hold the tokens, parts of them, and what may stand beside them."""
    rng = np.random.default_rng(seed)
    tokens = contents(files)
    plain = list(strings.strings(count, seed))

    def one(options) -> str:
        return options[int(rng.integers(len(options)))]

    def part(content: str) -> str:
        cut = int(rng.integers(len(content) + 1))
        return content[:cut] if rng.random() < 0.5 else content[cut:]

    for text in plain:
        pieces = []
        for _ in range(int(rng.integers(1, 6))):
            content = one(tokens)
            pieces += [one(_AROUND), content if rng.random() < 0.8 else part(content), one(_AROUND)]
            if rng.random() < 0.3:
                begin = int(rng.integers(len(text) + 1))
                pieces.append(text[begin : begin + 12])
        yield "".join(pieces)
