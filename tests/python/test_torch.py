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
