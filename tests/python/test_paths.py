"""Path patching: that it is exact, by the same in float64."""

import numpy as np
import pytest

from scalpel import logit, logit_diff, node, patch
from tests.oracle.weights import read_model
from tests.python.path_by_hand import End, path_patched, run
from tests.python.raw import OTHER, PROMPT

N_LAYER, N_HEAD, T, VOCAB = 12, 12, 14, 2048
NAMES = {"answer": " Mary", "wrong": " John"}
LOGITS = list(range(0, VOCAB, 41))
TOLERANCE = 1e-4
SENDERS = ("z", "attn_out", "mlp_out", "embed")
RECEIVERS = ("q", "k", "v", "ln1_in", "ln2_in", "ln_f_in")


@pytest.fixture(scope="module")
def weights(model_dir):
    return read_model(model_dir)


def random_prompts(rng):
    """Two that have nothing in common, so that every path carries something."""
    return [rng.integers(0, VOCAB, size=T).tolist() for _ in range(2)]


def random_end(rng, site, layer):
    """Some heads and, now and then, some positions; of those the last, where logits are read."""
    heads = tuple(map(int, rng.choice(N_HEAD, size=rng.integers(4, 9), replace=False)))
    some = (*map(int, rng.choice(T - 1, size=rng.integers(1, T - 1), replace=False)), T - 1)
    return End(
        site,
        None if site in ("embed", "pos_embed", "ln_f_in") else int(layer),
        heads if site in ("z", "q", "k", "v") else None,
        some if rng.random() < 0.3 else None,
    )


def nodes_of(ends):
    return [node(end.site, **end.where()) for end in ends]


def logits_of(model, prompts, senders, receivers, **options):
    """Some logits of the patched run."""
    result = model.path_patch(*prompts, nodes_of(senders), nodes_of(receivers), **NAMES,
                              metrics=logit(*LOGITS, name="l"), **options)  # fmt: skip
    return result.array("l")[0]


def assert_exact(model, weights, prompts, senders, receivers, **options):
    """As in float64, and not without effect."""
    expected = path_patched(weights, *prompts, senders, receivers, **options)[-1, LOGITS]
    clean = run(weights, prompts[0])["logits", None][-1, LOGITS]
    assert abs(expected - clean).max() > 10 * TOLERANCE
    found = logits_of(model, prompts, senders, receivers, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("freeze_mlps", [True, False])
@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("sender", SENDERS)
def test_a_path_is_exact(model, weights, sender, receiver, freeze_mlps):
    rng = np.random.default_rng([SENDERS.index(sender), RECEIVERS.index(receiver)])
    at = rng.integers(0, N_LAYER - 2)
    ends = random_end(rng, sender, at), random_end(rng, receiver, rng.integers(at + 1, N_LAYER - 1))
    prompts = random_prompts(rng)
    assert_exact(model, weights, prompts, ends[:1], ends[1:], freeze_mlps=freeze_mlps)


@pytest.mark.parametrize("seed", range(12))
def test_sets_of_paths_are_exact(model, weights, seed):
    """Several senders at once, to several receivers, of which some may come before some senders."""
    rng = np.random.default_rng(seed)
    senders = [random_end(rng, site, rng.integers(0, 8)) for site in rng.choice(SENDERS, size=3)]
    receivers = [random_end(rng, s, rng.integers(4, 10)) for s in rng.choice(RECEIVERS, size=3)]
    receivers.append(random_end(rng, "v", 10))
    freeze_mlps = bool(rng.integers(2))
    prompts = random_prompts(rng)
    assert_exact(model, weights, prompts, senders, receivers, freeze_mlps=freeze_mlps)


@pytest.mark.parametrize("receiver", [End("q", 8), End("ln2_in", 8), End("ln_f_in")], ids=str)
def test_frozen_layer_norms_would_give_another_answer(weights, receiver):
    """So the other tests tell the two apart."""
    prompts, senders = random_prompts(np.random.default_rng(0)), [End("mlp_out", 0)]
    exact, linear = (
        path_patched(weights, *prompts, senders, [receiver], frozen_scales=frozen)[-1, LOGITS]
        for frozen in (False, True)
    )
    assert abs(exact - linear).max() > 100 * TOLERANCE


def test_it_is_three_rows_of_a_run(model):
    """Bit for bit, as patches that are written out."""
    after = {"z": range(4, 9), "mlp_out": range(3, 9)}
    edits = [
        *(patch(site, from_clean=2, layer=where, prompt=2) for site, where in after.items()),
        patch("z", from_clean=1, layer=3, head=[1, 7], prompt=2),
        patch("k", from_prompt=2, layer=9, prompt=0),
    ]
    run = model.run([PROMPT, OTHER, PROMPT], edits, logits="full")
    paths = model.path_patch(PROMPT, OTHER, node("z", layer=3, head=[1, 7]),
                             node("k", layer=9), **NAMES,
                             metrics=logit(*LOGITS, name="l"))  # fmt: skip
    np.testing.assert_array_equal(paths.array("l")[0], run.logits()[-1, LOGITS])
    assert abs(paths.array("l")[0] - paths.clean("l")).max() > 1e-3


def test_the_score_is_of_the_prompts_themselves(model):
    paths = model.path_patch(PROMPT, OTHER, node("attn_out", layer=3, position=-1), **NAMES,
                             metrics=logit_diff(" Mary", " John", name="d"))  # fmt: skip
    corrupted, clean = model.patch(PROMPT, OTHER, **NAMES, over="layers").clean("score")
    assert paths.shape == (1,) and paths.clean("d") == clean
    np.testing.assert_allclose(paths.score, (paths["d"] - corrupted) / (clean - corrupted))
    np.testing.assert_allclose(paths.clean("score"), [clean, corrupted])
    assert paths.score[0] != 1


def test_everything_sent_to_the_end_is_the_other_prompt(model):
    """All that writes into the residual stream makes all of it."""
    everything = [node("embed"), node("pos_embed"), node("z"), node("mlp_out")]
    noised = model.path_patch(PROMPT, OTHER, everything, **NAMES)
    denoised = model.path_patch(PROMPT, OTHER, everything, **NAMES, direction="denoising")
    np.testing.assert_allclose(noised.score, 0, atol=1e-6)
    np.testing.assert_allclose(denoised.score, 1, atol=1e-6)


def test_denoising_exchanges_the_prompts(model):
    ends = node("z", layer=3), node("ln2_in", layer=5)
    difference = {"metrics": logit_diff(" Mary", " John", name="d")}
    denoised = model.path_patch(PROMPT, OTHER, *ends, **NAMES, **difference, direction="denoising")
    exchanged = model.path_patch(OTHER, PROMPT, *ends, **NAMES, **difference)
    np.testing.assert_array_equal(denoised["d"], exchanged["d"])
    assert denoised.score == pytest.approx(1 - exchanged.score, abs=1e-9)


def test_several_pairs(model):
    others = ("When Tom and Jane went to the store, Jane gave a drink to",
              "When Tom and Jane went to the store, Tom gave a drink to")  # fmt: skip
    names = {"answer": [" Mary", " Tom"], "wrong": [" John", " Jane"]}
    ends = node("z", position=-1), node("ln_f_in")
    own = logit_diff(names["answer"], names["wrong"], name="d")
    result = model.path_patch([PROMPT, others[0]], [OTHER, others[1]], *ends, **names,
                              over="layers", metrics=own, stats={"resid_post": "std"})  # fmt: skip
    assert result.scores.shape == (2, N_LAYER) and len(result.prompts) == 2
    assert result.stat("resid_post", "std", prompt=1).shape == (N_LAYER, N_LAYER)
    for i, pair in enumerate(((PROMPT, OTHER), others)):
        alone = model.path_patch(*pair, *ends, answer=names["answer"][i], wrong=names["wrong"][i],
                                 over="layers")  # fmt: skip
        np.testing.assert_array_equal(alone.score, result.scores[i])
        np.testing.assert_array_equal(alone.clean("score")[0], result.clean("d", prompt=i))
    mixed = {**names, "answer": [5, " Tom"]}
    with pytest.raises(TypeError, match="all by id, or all by text"):
        model.path_patch([PROMPT, others[0]], [OTHER, others[1]], *ends, **mixed)
