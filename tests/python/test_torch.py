"""Torch tensors in and out, where torch is there: `./scalpel test --live`."""

import numpy as np
import pytest

import scalpel
from scalpel import capture
from tests.python.raw import PROMPT

pytestmark = pytest.mark.live
D_MODEL = 96


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_shares_the_memory(model, torch, dtype):
    tensor = model.run(PROMPT, capture=capture("z", layer=3, dtype=dtype)).tensor("z")
    shared = tensor.torch()
    assert shared.dtype == getattr(torch, dtype) and shared.data_ptr() == tensor.stored.ctypes.data
    np.testing.assert_array_equal(shared.float().numpy(), tensor.numpy().astype(np.float32))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_torch_tensors_go_into_requests(model, torch, dtype):
    vector = torch.linspace(-1, 1, D_MODEL).to(getattr(torch, dtype)).requires_grad_()
    sent = scalpel.add("resid_pre", vector, layer=3)
    expected = scalpel.add("resid_pre", vector.detach().double().numpy(), layer=3)
    mine, theirs = (model.run(PROMPT, one, logits="full").logits() for one in (sent, expected))
    np.testing.assert_array_equal(mine, theirs)
    ids = torch.tensor(model.tokenize(PROMPT).ids)
    np.testing.assert_array_equal(model.run(ids, logits="full").logits(),
                                  model.run(PROMPT, logits="full").logits())  # fmt: skip


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_transformers_tokenizer_gives_is_a_prompt(model, torch, model_dir, side):
    """Padded or not, for one text or for several, as lists or as tensors."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir, padding_side=side)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.convert_ids_to_tokens(0)
    texts = [PROMPT, "The war lasted"]
    expected = model.run(texts, logits="full")
    padded = tokenizer(texts, padding=True, return_tensors="pt")
    assert padded["input_ids"].shape[0] == 2 and not padded["attention_mask"].all()
    for given in (padded, tokenizer(texts), padded.encodings or tokenizer(texts),
                  [tokenizer(text, return_tensors="pt") for text in texts]):  # fmt: skip
        run = model.run(given, logits="full")
        for prompt in range(2):
            np.testing.assert_array_equal(run.logits(prompt=prompt), expected.logits(prompt=prompt))
    one = model.run(tokenizer(PROMPT), logits="full")
    np.testing.assert_array_equal(one.logits(), expected.logits())
    assert model.detokenize(tokenizer(PROMPT, return_tensors="pt")) == PROMPT
