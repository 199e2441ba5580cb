"""Path patching, against what TransformerLens 4 makes of direct paths between heads."""

import json

import numpy as np
import pytest

from scalpel import logit_diff, node
from tests.python.make_path_golden import GOLDEN, SENDERS, prompts

TOLERANCE = 1e-4


@pytest.mark.parametrize("component", SENDERS)
def test_direct_paths_are_those_of_transformer_lens(model, component):
    """Its corrupted run gets clean values, which is denoising."""
    expected = np.array(json.loads(GOLDEN.read_text())[component])
    clean, corrupted, (answer, wrong) = prompts()
    layer, head = SENDERS[component]
    found, untouched = np.zeros_like(expected), None
    receivers = [(at, h) for at in range(layer + 1, len(expected)) for h in range(len(expected[0]))]
    for at in receivers:
        result = model.path_patch(
            clean, corrupted, node("z", layer=layer, head=head),
            node(component, layer=at[0], head=at[1]), answer=answer, wrong=wrong,
            direction="denoising", metrics=logit_diff(answer, wrong, name="d"),
        )  # fmt: skip
        found[at], untouched = result["d"][0], result.clean("d")
    which = tuple(np.transpose(receivers))
    assert abs(expected[which] - untouched).max() > 10 * TOLERANCE
    np.testing.assert_allclose(found[which], expected[which], rtol=0, atol=TOLERANCE)
