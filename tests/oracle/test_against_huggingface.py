"""The oracle's forward pass is HuggingFace's, in float64, whatever config.json says."""

from typing import Any

import numpy as np
import pytest

from tests.oracle import interpret, weights
from tests.oracle.test_random_specs import ACTIVATIONS, TINY, TINY_MODELS, activated

pytestmark = pytest.mark.live

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.mark.parametrize("name", ["demo", *TINY, *ACTIVATIONS])
def test_forward(model_dir, tmp_path, name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    if name in ACTIVATIONS:
        folder = activated(tmp_path, name)
    else:
        folder = model_dir if name == "demo" else TINY_MODELS / name
    theirs = transformers.GPT2LMHeadModel.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    if theirs.config.reorder_and_upcast_attn:  # To float32: with it HuggingFace is float32.
        for block in theirs.transformer.h:
            block.attn.reorder_and_upcast_attn = False
    with torch.inference_mode():
        out = theirs(torch.tensor([PROMPT]), output_hidden_states=True, output_attentions=True)
    asked = {"logits": {"full": True, "positions": {}}, "attentions": True, "hidden_states": True}
    found = interpret.answer(weights.read_model(folder), {"prompts": [PROMPT], **asked})
    want: dict[tuple, Any] = {("logits", 0, False): out.logits}
    want |= {("hidden", i, 0, False): value for i, value in enumerate(out.hidden_states)}
    want |= {("block", i, 1, 0, False): value for i, value in enumerate(out.attentions)}
    for key, value in want.items():
        np.testing.assert_allclose(found[key].value, value[0].numpy(), rtol=0, atol=1e-11)
