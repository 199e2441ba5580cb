"""The server's tokenizer: against HuggingFace's on many varied strings, and against a golden file
without it."""

import pathlib
import shutil

import numpy as np
import pytest

from tests.parity import golden, strings
from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server

COUNT = 12_000
SEQUENCES = 1_000


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
    for text, want in zip(texts, reference(texts).input_ids):
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
