"""The comparison itself: what it lets pass, and what it must not."""

import pytest

from tests.docs import outputs


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("std 5.037", "std  5.036"),
        ("[0.5037 2.224]", "[0.503699 2.2241]\n"),
        ("[ 0.00 -0.01]", "[-0.00 -0.01]"),
        ("1.2e-05", "1.203e-05"),
        ("0.00", "-0.01"),
        ("5.58 GFLOP", "5.6 GFLOP"),
        ("run ... 28 tokens", "run 19d7  1 prompt,\n 28 tokens"),
        ("(12, 12)", "(12, 12)"),
    ],
)
def test_agree(shown, printed):
    assert outputs.agree(shown, printed)


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("std 5.037", "std 5.1"),
        ("std 5.037", "std nan"),
        ("std 5.037", "mean 5.037"),
        ("std 5.037", "std 5.037 and more"),
        ("std 5.037", ""),
        ("(12, 12)", "(12, 13)"),
        ("layer 12", "layer 12.0"),
        ("1.2e-05", "1.2e-04"),
        ("0.00", "0.02"),
        ("run ... 28 tokens", "run 19d7  1 prompt, 29 tokens"),
    ],
)
def test_disagree(shown, printed):
    assert not outputs.agree(shown, printed)
