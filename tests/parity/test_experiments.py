"""The experiments that started this project, as the example files say them.

What they show is not what one hopes to see but what HuggingFace shows with the same edits on the
same model: from the golden file, and live where transformers is installed.
"""

import numpy as np
import pytest

from tests.parity import answer, golden
from tests.support import environment
from tests.support.client import make_request

EXAMPLES = environment.EXAMPLES
SCALED_LAYER = 9


def example(name: str):
    return make_request(EXAMPLES / f"{name}.json")


@pytest.fixture(scope="module", params=["golden", pytest.param("live", marks=pytest.mark.live)])
def huggingface(request):
    """What HuggingFace answers an example, by name."""
    if request.param == "golden":
        return {case.name: case.answer for case in golden.load("demo")}.__getitem__
    pytest.importorskip("transformers")
    from transformers import GPT2TokenizerFast

    from tests.parity import twin

    folder = environment.model_dir()
    model, tokenizer = twin.load(folder), GPT2TokenizerFast.from_pretrained(folder)
    return lambda name: twin.answer(
        model, example(name), [tokenizer(p.text).input_ids for p in example(name).prompts]
    )


def std_by_layer(found, request, prompt: int, clean: bool) -> np.ndarray:
    """`found` gives a statistic by its key: the std of every block's output."""
    probe = request.probes[0].name
    layers = range(12)
    return np.array(
        [found(answer.key("probe", probe, layer, [prompt], clean, "std")) for layer in layers]
    )


def both_stds(client, huggingface, name: str, prompt: int = 0) -> tuple[np.ndarray, ...]:
    """(edited, clean) of the server, then of HuggingFace."""
    request = example(name)
    ours = answer.of_result(client.run(request))
    theirs = huggingface(name)
    return (
        *(std_by_layer(ours.__getitem__, request, prompt, clean) for clean in (False, True)),
        *(
            std_by_layer(lambda key: theirs[key].value, request, prompt, clean)
            for clean in (False, True)
        ),
    )


def test_1_k_of_a_head_zeroed_by_either_name(client):
    """The same bits as columns of QKV and as head 2 of K, and uniform attention; its entropy is
    that of uniform rows."""
    answers = [client.run(example(name)) for name in ("01-zero-k-head", "01b-zero-qkv-columns")]
    patterns = [result.capture("pattern of head 2", 5) for result in answers]
    length = patterns[0].shape[1]
    assert np.array_equal(*patterns)
    first, second = ([*map(str, result.top_tokens())] for result in answers)
    assert first == second
    uniform = np.tril(np.ones((length, length))) / np.arange(1, length + 1)[:, None]
    np.testing.assert_allclose(patterns[0][0], uniform, rtol=2.5e-7)
    entropy = answers[0].statistic("entropy by head", "entropy", 5)
    assert entropy[2] == pytest.approx(np.log(np.arange(1, length + 1)).mean(), rel=1e-6)
    clean = answers[0].statistic("entropy by head", "entropy", 5, clean=True)
    assert np.array_equal(np.delete(entropy, 2), np.delete(clean, 2)) and entropy[2] > clean[2]


def test_2_noise_in_even_neurons(client, huggingface):
    """Statistics show mean 10 in half of the neurons at that layer, and the disorder in every later
    block."""
    result = client.run(example("02-noise-neurons"))
    before, after = (
        result.statistic(f"neurons {moment}", "mean", 6) for moment in ("before", "after")
    )
    assert after == pytest.approx((10 + before) / 2, abs=0.5)
    assert result.statistic("neurons after", "std", 6) > 4
    disorder = np.array(
        [result.statistic("block output", "relative_l2", layer) for layer in range(12)]
    )
    theirs = np.array(
        [
            huggingface("02-noise-neurons")[
                answer.key("probe", "block output", layer, [0], detail="relative_l2")
            ].value
            for layer in range(12)
        ]
    )
    assert (disorder[:6] == 0).all() and (disorder[6:] > 0.1).all()
    np.testing.assert_allclose(disorder, theirs, rtol=1e-4)


@pytest.mark.parametrize("name, factor", [("03-scale-block-down", 0.1), ("04-scale-block-up", 10)])
def test_3_and_4_scaled_block(client, huggingface, name, factor):
    """At the block the spread is scaled; how later layers revive or compress it is HuggingFace's,
    number by number."""
    ours, clean, theirs, their_clean = both_stds(client, huggingface, name)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    np.testing.assert_allclose(clean, their_clean, rtol=1e-4)
    assert np.array_equal(ours[:SCALED_LAYER], clean[:SCALED_LAYER])
    assert ours[SCALED_LAYER] == pytest.approx(factor * clean[SCALED_LAYER], rel=1e-5)
    ours_after, theirs_after = (
        (edited / plain)[SCALED_LAYER:] for edited, plain in ((ours, clean), (theirs, their_clean))
    )
    assert (np.sign(np.diff(ours_after)) == np.sign(np.diff(theirs_after))).all()


def test_5_block_output_tuple(client):
    """One element, and two with attentions: [batch, heads, seq, seq], rows that sum to 1, zeros
    above the diagonal."""
    plain = client.run(example("05-block-output-tuple"))
    (hidden,) = plain.block_output(9)
    length, config = len(plain.tokens[0]), client.model().config
    assert hidden.shape == (1, length, config.d_model)
    hidden_again, attentions = client.run(
        example("05b-block-output-tuple-attentions")
    ).block_output(9)
    assert np.array_equal(hidden, hidden_again)
    assert attentions.shape == (1, config.n_head, length, length)
    np.testing.assert_allclose(attentions.sum(-1), 1, rtol=1e-6)
    assert not attentions[..., np.triu(np.ones((length, length), bool), 1)].any()


@pytest.mark.parametrize("prompt", [0, 1])
def test_6_std_by_layer(client, huggingface, prompt):
    """The spread by depth, clean and edited, is HuggingFace's: where it grows, and where it does
    not."""
    ours, clean, theirs, their_clean = both_stds(client, huggingface, "06-std-by-layer", prompt)
    for got, want in ((ours, theirs), (clean, their_clean)):
        np.testing.assert_allclose(got, want, rtol=1e-4)
        assert (np.sign(np.diff(got)) == np.sign(np.diff(want))).all()
    assert not np.allclose(ours[3:], clean[3:], rtol=1e-3)
