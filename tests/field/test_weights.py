"""Weights as programs store them. The bundled model's prompt must give the bundled model's logits,
whatever its tensors are called."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.client import Client
from tests.support.server import Server, run_server

WTE, HEAD = "transformer.wte.weight", "lm_head.weight"
REQUEST = {"prompts": [{"token_ids": {"ids": [39, 1122, 78, 1369]}}], "logits": {"full": {}}}


@pytest.fixture
def folder(model_dir, tmp_path):
    """Writes a folder with the bundled model's configuration and these tensors."""

    def write(tensors: dict, metadata: dict | None = None, **config) -> pathlib.Path:
        made = tmp_path / "model"
        made.mkdir()
        said = json.loads((model_dir / "config.json").read_text()) | config
        (made / "config.json").write_text(json.dumps(said))
        save_file(tensors, made / "model.safetensors", metadata=metadata)
        return made

    return write


@pytest.fixture
def tensors(model_dir) -> dict[str, np.ndarray]:
    return load_file(model_dir / "model.safetensors")


def logits(folder: pathlib.Path) -> np.ndarray:
    with Server(model=folder) as server, Client(server.address) as client:
        return np.asarray(client.run(REQUEST).logits())


def refusal(folder: pathlib.Path) -> str:
    done = run_server("--model", str(folder), "--listen", "127.0.0.1:0", "--log-level", "error")
    assert done.returncode == 1
    return done.stderr


@pytest.fixture
def expected(client) -> np.ndarray:
    return np.asarray(client.run(REQUEST).logits())


@pytest.mark.parametrize("tied", [{}, {"tie_word_embeddings": False}])
@pytest.mark.parametrize("kept, dropped", [(HEAD, WTE), (WTE, HEAD)])
def test_save_model_keeps_one_of_two_tied_tensors(folder, tensors, expected, kept, dropped, tied):
    """safetensors.torch.save_model says in the metadata for which tensor the other one stands."""
    tensors[kept] = tensors.pop(WTE)
    assert np.array_equal(logits(folder(tensors, {dropped: kept}, **tied)), expected)


def test_a_head_of_its_own_of_which_the_config_says_nothing(folder, tensors):
    """transformers 5 takes the stored head, 4.57 ties it to the embedding: other logits."""
    tensors[HEAD] = tensors[WTE] * 2
    words = refusal(folder(tensors))
    assert HEAD in words and WTE in words
    assert "say false to take it, or true to ignore it" in words


def test_a_head_of_its_own_with_the_configs_word(folder, tensors, expected):
    """Twice the embedding gives twice the logits. Where the config says true, 4.57 is followed:
    transformers 5 takes the stored head all the same."""
    tensors[HEAD] = tensors[WTE] * 2
    made = folder(tensors, tie_word_embeddings=False)
    assert np.array_equal(logits(made), 2 * expected)
    shutil.rmtree(made)
    assert np.array_equal(logits(folder(tensors, tie_word_embeddings=True)), expected)


def test_a_head_and_no_embedding(folder, tensors, expected):
    """Tied, so each can stand for the other; transformers 5 takes it so, 4.57 does not load it."""
    tensors[HEAD] = tensors.pop(WTE)
    assert np.array_equal(logits(folder(tensors)), expected)


def test_a_head_that_is_the_embedding(folder, tensors, expected):
    """Tied or not is then the same."""
    tensors[HEAD] = tensors[WTE].copy()
    assert np.array_equal(logits(folder(tensors)), expected)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "_orig_mod.model.", "model._orig_mod."])
def test_names_of_a_model_in_a_wrapper(folder, tensors, expected, prefix):
    """torch.compile and classes that hold a model put these before every name."""
    assert np.array_equal(
        logits(folder({prefix + name: tensor for name, tensor in tensors.items()})), expected
    )


def test_a_weight_under_two_names(folder, tensors):
    tensors["model." + WTE] = tensors[WTE] + 1
    assert "stored twice" in refusal(folder(tensors))


def test_null_for_a_flag_whose_default_is_false(folder, tensors, expected):
    flags = ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "tie_word_embeddings")
    assert np.array_equal(logits(folder(tensors, **dict.fromkeys(flags))), expected)


def test_null_for_the_scale_of_attention(folder, tensors):
    """Its default is true, and null is false: HuggingFace 4.57's logits, where 5 refuses null."""
    last = logits(folder(tensors, scale_attn_weights=None))[-1]
    assert last[:3] == pytest.approx([-0.2881, 0.4926, -5.0230], abs=1e-3)
