"""Tokens that a folder's files add to GPT-2's vocabulary. The ids are AutoTokenizer's (transformers
4.57.6 and 5) of the same folder; the base is the bundled model's vocabulary of 2048 tokens."""

import contextlib

import grpc
import pytest

from tests.parity.tokenizer_folders import SPEAKERS, fast, slow, token, write
from tests.support import environment
from tests.support.client import Client
from tests.support.server import Server


@pytest.fixture
def serve(tmp_path):
    """A client of a server of a folder with these files."""
    with contextlib.ExitStack() as running:

        def start(files: dict) -> Client:
            server = running.enter_context(Server(model=write(tmp_path / "model", files)))
            return running.enter_context(Client(server.address))

        yield start


DIALOGUE = "<speaker1>Hello there<speaker2>Hi<pad>"
SPOKEN = [2048, 39, 1122, 78, 1369, 2049, 39, 72, 2050]


@pytest.mark.parametrize("file", ["special_tokens_map", "tokenizer_config"])
def test_additional_special_tokens(serve, file):
    """vocab.json has the tokens, and only this list says that they are found in text whole."""
    client = serve(slow(*SPEAKERS, **{file: {"additional_special_tokens": list(SPEAKERS)}}))
    assert client.tokenize(DIALOGUE) == SPOKEN
    assert client.detokenize(SPOKEN).text == DIALOGUE


@pytest.mark.parametrize("files", [slow, fast])
def test_a_padding_token_that_no_vocabulary_has(serve, files):
    """It is new, and gets the next id."""
    client = serve(files(special_tokens_map={"pad_token": "[PAD]"}))
    assert client.tokenize("Hello[PAD][PAD]") == [39, 1122, 78, 2048, 2048]


def test_a_mask_takes_the_space_before_it(serve):
    """`lstrip`, said by an object in special_tokens_map.json: "Hello" and " there" without it."""
    client = serve(slow(special_tokens_map={"mask_token": token("<mask>", lstrip=True)}))
    assert client.tokenize("Hello <mask> there") == [39, 1122, 78, 2048, 1369]


def test_a_template_that_adds_nothing(serve):
    """transformers 5 writes it where 4.57 wrote ByteLevel; both leave the ids as they are."""
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [sequence],
        "pair": [],
        "special_tokens": {},
    }
    client = serve(fast(change={"post_processor": template}))
    assert client.tokenize("Hello there") == [39, 1122, 78, 1369]


def test_a_tokenizer_that_is_not_gpt2s(serve):
    """The weights do not need it: token ids are served, and text is refused with the reason."""
    client = serve(fast(change={"normalizer": {"type": "NFC"}}))
    model = client.model()
    assert not model.has_tokenizer and model.tokenizer_problem.startswith("tokenizer.json: ")
    client.run({"prompts": [{"token_ids": {"ids": [1, 2]}}]})
    with pytest.raises(grpc.RpcError) as refused:
        client.run({"prompts": [{"text": "Hello"}]})
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert model.tokenizer_problem in refused.value.details()


def test_a_folder_without_a_tokenizer(serve):
    client = serve({})
    problem = client.model().tokenizer_problem
    assert problem
    with pytest.raises(grpc.RpcError) as refused:
        client.tokenize("Hello")
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert problem in refused.value.details()


def test_a_download_has_every_file_that_names_tokens():
    """`./scalpel fetch-model` left out the last three: a model with tokens of its own lost them."""
    script = (environment.ROOT / "deploy" / "fetch_model.py").read_text()
    for file in ("tokenizer", "vocab", "tokenizer_config", "special_tokens_map", "added_tokens"):
        assert f'"{file}.json"' in script
