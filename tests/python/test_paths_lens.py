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
    found = model.path_patch(
        clean, corrupted, node("z", layer=layer, head=head), node(component), answer=answer,
        wrong=wrong, over_receivers=["layers", "heads"], direction="denoising",
        metrics=logit_diff(answer, wrong, name="d"),
    )  # fmt: skip
    assert found.axes[0].values[0] == layer + 1
    behind = expected[layer + 1 :]  # What it has of the others is 0.
    assert abs(behind - found.clean("d")).max() > 10 * TOLERANCE
    np.testing.assert_allclose(found["d"], behind, rtol=0, atol=TOLERANCE)
