"""Path patching, against hooks on HuggingFace's GPT-2: `./scalpel test --live`."""

import numpy as np
import pytest

from tests.python.path_by_hand import End
from tests.python.test_paths import (
    LOGITS,
    N_LAYER,
    RECEIVERS,
    SENDERS,
    TOLERANCE,
    logits_of,
    random_end,
    random_prompts,
)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def by_hooks():
    pytest.importorskip("torch")
    from tests.python import path_by_hooks

    return path_by_hooks


@pytest.fixture(scope="module")
def hooked(by_hooks, model_dir):
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(model_dir, attn_implementation="eager")
    return by_hooks.Hooked(theirs)


def assert_same(model, by_hooks, hooked, rng, ends, freeze_mlps):
    prompts = random_prompts(rng)
    expected = by_hooks.path_patched(hooked, *prompts, *ends, freeze_mlps)[-1, LOGITS].numpy()
    clean = hooked.logits(prompts[0])[-1, LOGITS].numpy()
    assert abs(expected - clean).max() > 10 * TOLERANCE
    found = logits_of(model, prompts, *ends, freeze_mlps=freeze_mlps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("freeze_mlps", [True, False])
@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("sender", SENDERS)
def test_a_path_is_that_of_hooks(model, by_hooks, hooked, sender, receiver, freeze_mlps):
    rng = np.random.default_rng([7, SENDERS.index(sender), RECEIVERS.index(receiver)])
    at = rng.integers(0, N_LAYER - 2)
    senders = [random_end(rng, sender, at)]
    receivers = [random_end(rng, receiver, rng.integers(at + 1, N_LAYER - 1))]
    assert_same(model, by_hooks, hooked, rng, (senders, receivers), freeze_mlps)


@pytest.mark.parametrize("seed", range(6))
def test_sets_of_paths_are_those_of_hooks(model, by_hooks, hooked, seed):
    rng = np.random.default_rng([8, seed])
    senders = [random_end(rng, site, rng.integers(0, 8)) for site in rng.choice(SENDERS, size=3)]
    receivers = [random_end(rng, s, rng.integers(4, 10)) for s in rng.choice(RECEIVERS, size=3)]
    ends = senders, [*receivers, End("v", 10)]
    assert_same(model, by_hooks, hooked, rng, ends, bool(rng.integers(2)))
