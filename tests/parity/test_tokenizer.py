"""The server's tokenizer: against HuggingFace's on many varied strings, and against a golden file
without it."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from tests.parity import golden, strings, tokenizer_folders, tokenizer_golden
from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server

COUNT = 12_000
SEQUENCES = 1_000
FEW_CHUNKS = 2
FOLLOWED = "4.57.6"
GOLDEN = tokenizer_golden.load()


def test_golden_strings(client):
    """Strings whose ids HuggingFace's tokenizer gave, and what the ids decode to."""
    for text, ids in golden.load_strings(environment.model_dir()):
        assert client.tokenize(text) == ids, repr(text)
        assert client.detokenize(ids).raw == text.encode(), repr(text)


def test_tokens_decode_one_by_one(client):
    """`tokens` are the ids decoded singly; together their bytes are the text, even where one is not
    UTF-8 by itself."""
    from tests.support.client import service_pb2

    answer = client.stub.Tokenize(service_pb2.TokenizeRequest(text="naïve 😀 字"))
    raw = [client.detokenize([token]).raw for token in answer.ids]
    assert b"".join(raw) == "naïve 😀 字".encode()
    assert list(answer.tokens) == [strings.decoded(piece) for piece in raw]
    assert "\ufffd" in "".join(answer.tokens)


def _full_vocabulary(folder: pathlib.Path) -> pathlib.Path:
    """A tiny model with GPT-2's own vocabulary."""
    from tests.parity import models

    source = environment.gpt2_vocabulary_dir()
    if source is None:
        pytest.skip("SCALPEL_NPM_GPT2 does not name the folder with encoder.json and vocab.bpe")
    models.make(folder, vocab_size=50257, n_positions=64, n_embd=8, n_layer=1, n_head=1)
    shutil.copy(source / "encoder.json", folder / "vocab.json")
    shutil.copy(source / "vocab.bpe", folder / "merges.txt")
    return folder


@pytest.fixture(scope="module", params=["demo", "gpt2"])
def both(request, tmp_path_factory):
    """A client of a server, and HuggingFace's tokenizer, of the same vocabulary."""
    transformers = pytest.importorskip("transformers")
    folder = environment.model_dir()
    if request.param == "gpt2":
        folder = _full_vocabulary(tmp_path_factory.mktemp("tokenizer") / "gpt2")
    reference = transformers.GPT2TokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )
    with Server(model=folder) as server, Client(server.address) as client:
        yield client, reference


@pytest.mark.live
def test_strings_as_huggingface(both):
    client, reference = both
    wrong = []
    texts = list(strings.strings(COUNT, seed=11))
    for text, want in zip(texts, reference(texts).input_ids, strict=True):
        got = client.tokenize(text)
        if got != want:
            wrong.append((text, want, got))
        elif client.detokenize(got).raw != text.encode():
            wrong.append((text, "decoded", client.detokenize(got).raw))
    assert len(set(texts)) >= 10_000
    assert not wrong, f"{len(wrong)} of {COUNT} differ, such as {wrong[:3]!r}"


@pytest.mark.live
def test_any_ids_decode_as_huggingface(both):
    """Sequences of ids that no text gives: their bytes need not be UTF-8."""
    client, reference = both
    rng = np.random.default_rng(3)
    for _ in range(SEQUENCES):
        ids = rng.integers(0, len(reference), size=int(rng.integers(1, 12))).tolist()
        want = reference.decode(ids, clean_up_tokenization_spaces=False)
        assert client.detokenize(ids).text == want, ids


# Folders that transformers 4.57 does not load; 5 does.
ONLY_NEWER = {"a class of transformers 5", "extra as a list"}
# Folders whose texts it and 5 read differently, or 5 not at all.
OTHERWISE_IN_NEWER = ONLY_NEWER | {
    "flags in the map",
    "padding in tokenizer.json",
    "random 9",
    "random 12",
    "random 34",
    "random 35",
    "random 36",
}


def _folder_names() -> list[str]:
    return sorted(GOLDEN[FOLLOWED]["answers"])


def _newer() -> str:
    (version,) = GOLDEN.keys() - {FOLLOWED}
    return version


def _files(name: str) -> tokenizer_folders.Files:
    for version in GOLDEN.values():
        if name in version["saved"]:
            return tokenizer_golden.with_vocabulary(version["saved"][name])
    return tokenizer_folders.folders()[name]


def test_versions_of_transformers_differ_where_it_is_known():
    """In all other folders the server, which follows 4.57, follows 5 too."""
    older, newer = GOLDEN[FOLLOWED]["answers"], GOLDEN[_newer()]["answers"]
    assert {name for name in older if older[name] != newer[name]} == OTHERWISE_IN_NEWER
    assert {name for name in older if "error" in older[name]} == ONLY_NEWER


def _differences(name: str, folder: pathlib.Path, chunks: int) -> list[list[str]]:
    """The chunks of texts of which the server reads one otherwise than transformers."""
    files = _files(name)
    answers = GOLDEN[_newer() if name in ONLY_NEWER else FOLLOWED]["answers"][name]
    panics = set(answers["panics"])
    wrong = []
    with Server(model=tokenizer_folders.write(folder / "model", files)) as server:
        with Client(server.address) as client:
            assert client.model().tokenizer_problem == ""
            for i, texts in enumerate(list(tokenizer_golden.chunks(files))[:chunks]):
                first = i * tokenizer_golden.CHUNK
                ids = [
                    None if first + j in panics else client.tokenize(text)
                    for j, text in enumerate(texts)
                ]
                if tokenizer_golden.digest(ids) != answers["digests"][i]:
                    wrong.append(texts)
    return wrong


@pytest.mark.parametrize("name", _folder_names())
def test_folders_as_huggingface(tmp_path, name):
    """200 texts in each folder, against the ids that transformers gave."""
    assert not _differences(name, tmp_path, FEW_CHUNKS)


@pytest.mark.live
@pytest.mark.parametrize("name", _folder_names())
def test_folders_as_huggingface_on_all_texts(tmp_path, name):
    chunks = tokenizer_golden.TEXTS // tokenizer_golden.CHUNK
    assert not _differences(name, tmp_path, chunks)


@dataclasses.dataclass
class Readers:
    """What readers of HuggingFace make of one text, where they differ."""

    files: tokenizer_folders.Files
    text: str
    fast: list[int]  # of transformers 4.57, AutoTokenizer's choice: the one that is followed
    slow: list[int]  # of transformers 4.57
    newer: list[int]  # of transformers 5


_MAP = "special_tokens_map"
_token = tokenizer_folders.token
READERS = {
    "a single word ends before punctuation, or only before a space": Readers(
        tokenizer_folders.slow(**{_MAP: {"mask_token": _token("word", single_word=True)}}),
        "a word, a word",
        fast=[64, 220, 2048, 11, 468, 220, 2048],
        slow=[64, 220, 1317, 67, 11, 468, 220, 2048],
        newer=[64, 220, 2048, 11, 468, 220, 2048],
    ),
    "the prefix space goes before every piece of text, or only before the first": Readers(
        tokenizer_folders.slow(tokenizer_config={"add_prefix_space": True}),
        "Hello<|endoftext|>Hello",
        fast=[620, 1122, 78, 2047, 620, 1122, 78],
        slow=[620, 1122, 78, 2047, 39, 1122, 78],
        newer=[620, 1122, 78, 2047, 620, 1122, 78],
    ),
    "white space is Unicode's, or Python's": Readers(
        tokenizer_folders.slow(**{_MAP: {"mask_token": _token("<mask>", lstrip=True)}}),
        "Hello \x1c<mask>",
        fast=[39, 1122, 78, 220, 216, 2048],
        slow=[39, 1122, 78, 2048],
        newer=[39, 1122, 78, 220, 216, 2048],
    ),
    "tokens that are not normalized come first, or the leftmost": Readers(
        tokenizer_folders.slow(
            added_tokens={"<x": 2048}, **{_MAP: {"mask_token": _token("x>", normalized=False)}}
        ),
        "<x>",
        fast=[27, 2049],
        slow=[2048, 29],
        newer=[27, 2049],
    ),
    "a role's text is normalized where there is no tokenizer.json, or never": Readers(
        tokenizer_folders.slow(
            **{_MAP: {"pad_token": "<x", "mask_token": _token("x>", normalized=False)}}
        ),
        "<x>",
        fast=[27, 2049],
        slow=[2048, 29],
        newer=[2048, 29],
    ),
    "of a token with two roles the first one's flags hold, or the last one's": Readers(
        tokenizer_folders.slow(
            **{_MAP: {"pad_token": _token("<p>"), "mask_token": _token("<p>", lstrip=True)}}
        ),
        "Hello <p>",
        fast=[39, 1122, 78, 220, 2048],
        slow=[39, 1122, 78, 220, 2048],
        newer=[39, 1122, 78, 2048],
    ),
}


@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
def test_of_two_readers_the_fast_one_is_followed(tmp_path, readers):
    """It is AutoTokenizer's choice, in the version that the weights are compared with too."""
    with Server(model=tokenizer_folders.write(tmp_path / "model", readers.files)) as server:
        with Client(server.address) as client:
            assert client.tokenize(readers.text) == readers.fast


@pytest.mark.live
@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
def test_readers_of_huggingface_differ(tmp_path, readers):
    transformers = pytest.importorskip("transformers")
    folder = tokenizer_folders.write(tmp_path / "model", readers.files)
    if transformers.__version__.startswith("4."):
        for use_fast, ids in ((True, readers.fast), (False, readers.slow)):
            reader = transformers.AutoTokenizer.from_pretrained(folder, use_fast=use_fast)
            assert reader(readers.text)["input_ids"] == ids
    else:
        reader = transformers.AutoTokenizer.from_pretrained(folder)
        assert reader(readers.text)["input_ids"] == readers.newer


@pytest.mark.live
def test_the_golden_answers_are_those_of_the_installed_version(tmp_path):
    transformers = pytest.importorskip("transformers")
    answers = GOLDEN[transformers.__version__]["answers"]
    for name in _folder_names():
        files = _files(name)
        folder = tokenizer_folders.write(tmp_path / name.replace("/", " "), files)
        if "error" in answers[name]:
            with pytest.raises(Exception):  # noqa: B017, PT011 - of any of its libraries
                transformers.AutoTokenizer.from_pretrained(folder)
            continue
        reader = transformers.AutoTokenizer.from_pretrained(folder)
        if not answers[name]["panics"]:
            ids = reader(next(tokenizer_golden.chunks(files)))["input_ids"]
            assert tokenizer_golden.digest(ids) == answers[name]["digests"][0], name
