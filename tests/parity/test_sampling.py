"""How a next token is chosen, against the processors of HuggingFace transformers and against numpy:
thousands of random logits, with ties, infinities, and of every size."""

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from tests.parity import sampling
from tests.parity.sampling import Case, Sampling

CASES = 1000
# How near to a bound of top-p or min-p a token may come. Nearer, its exclusion may depend on the
# order in which floats are added up, which PyTorch chooses by the CPU.
NEAREST = 1e-4


def random_logits(rng: np.random.Generator, size: int) -> np.ndarray:
    scale = rng.choice([1e-6, 0.1, 1, 4, 30, 1000])
    logits = (rng.normal(size=size) * scale).astype(np.float32)
    kind = rng.integers(6)
    if kind == 0:  # many ties
        logits = np.round(logits / np.float32(scale)) * np.float32(scale)
    elif kind == 1:  # few tokens that are possible
        logits[rng.random(size) < 0.9] = -np.inf
    elif kind == 2:  # all alike
        logits[:] = logits[0]
    elif kind == 3:  # zeros of both signs among them
        logits[rng.random(size) < 0.3] = 0
        logits[rng.random(size) < 0.3] *= -0.0
    if np.isneginf(logits).all():
        logits[rng.integers(size)] = scale
    return logits


def random_sampling(rng: np.random.Generator, size: int) -> Sampling:
    given = Sampling(sample=bool(rng.random() < 0.9))
    if rng.random() < 0.6:
        given.repetition_penalty = rng.choice([1, 1.2, 2.5, 0.7])
    if not given.sample:
        return given
    if rng.random() < 0.6:
        given.temperature = rng.choice([1, 0.01, 0.3, 0.7, 1.7, 50])
    if rng.random() < 0.5:
        given.top_k = min(size, int(rng.choice([1, 2, 5, size // 3 + 1, size])))
    if rng.random() < 0.6:
        given.top_p = rng.choice([1, 1e-6, 0.999999, rng.random(), 0.5 + rng.random() / 2])
    if rng.random() < 0.5:
        given.min_p = rng.choice([0, 1, 1e-9, 0.05, rng.random()])
    return given


def random_cases() -> Iterator[Case]:
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        size = int(rng.integers(2, 400))
        case = Case(random_sampling(rng, size), random_logits(rng, size))
        case.sequence = rng.integers(0, size, size=rng.integers(1, 60), dtype=np.int32)
        if rng.random() < 0.3:
            case.banned = rng.integers(0, size, size=2, dtype=np.int32)
        case.draws = rng.integers(0, [2**64 - 1, 2**16, 256, 1024], size=(8, 4), dtype=np.uint64)
        scores, nearest = sampling.processed(case)
        if np.isfinite(scores).any() and nearest > NEAREST:
            yield case


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(itertools.islice(random_cases(), CASES))


@pytest.fixture(scope="module")
def answers(cases) -> list[sampling.Answer]:
    return sampling.of_server(cases)


def test_the_cases_meet_every_processor(cases):
    """Each excludes something where it is left alone, and more than one acts at once."""
    met = dict.fromkeys(["top_k", "top_p", "min_p"], 0)
    for case, name in itertools.product(cases, met):
        if case.sampling.HasField(name):
            without = Sampling()
            without.CopyFrom(case.sampling)
            without.ClearField(name)
            all_of_it, others = case, Case(without, case.logits, case.sequence, case.banned)
            met[name] += not np.array_equal(
                sampling.processed(all_of_it)[0], sampling.processed(others)[0]
            )
    assert min(met.values()) > CASES / 10, met


def test_processed_logits_are_those_of_numpy(cases, answers):
    for case, answer in zip(cases, answers, strict=True):
        assert np.array_equal(answer.processed, sampling.processed(case)[0]), case


def test_draws_are_those_of_numpy(cases, answers):
    for case, answer in zip(cases, answers, strict=True):
        scores = sampling.processed(case)[0]
        ids = answer.choices["id"]
        if case.sampling.sample:
            assert np.array_equal(ids, sampling.drawn(scores, case.draws)), case
            of_scores = np.log(sampling.probabilities(scores)[ids])
        else:
            assert (ids == scores.argmax()).all(), case
            of_scores = np.zeros(len(ids))
        of_logits = log_probs(case.logits)[ids]
        assert np.allclose(answer.choices["log_prob"], of_logits, rtol=1e-6, atol=1e-6), case
        assert np.allclose(answer.choices["sampling_log_prob"], of_scores, rtol=1e-6, atol=1e-6)


def log_probs(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


@pytest.mark.parametrize("counted", ["seed", "prompt", "continuation", "step"])
def test_draws_are_as_frequent_as_they_are_probable(counted):
    """Chi-squared over one of the four numbers that a draw depends on, the others being fixed."""
    draws = np.full((40_000, 4), 3, np.uint64)
    draws[:, ["seed", "prompt", "continuation", "step"].index(counted)] = np.arange(len(draws))
    logits = np.random.default_rng(1).normal(size=50).astype(np.float32)
    logits[7] = -np.inf
    case = Case(Sampling(sample=True, temperature=0.8, top_k=40), logits, draws=draws)
    (answer,) = sampling.of_server([case])
    expected = sampling.probabilities(sampling.processed(case)[0]) * len(draws)
    seen = np.bincount(answer.choices["id"], minlength=50)
    assert not seen[expected == 0].any()
    likely = expected > 0
    squares = ((seen - expected)[likely] ** 2 / expected[likely]).sum()
    # 39 degrees of freedom: mean 39, standard deviation sqrt(78).
    assert abs(squares - 39) < 4 * np.sqrt(78), squares


def test_the_bound_of_top_p_is_excluded():
    """Eight tokens of 1/8 each, whose sums are exact: with a top_p of 3/4 the first two, which have
    1/4 together, are excluded; with just more than that, one."""
    cases = [
        Case(Sampling(sample=True, top_p=top_p), np.full(8, 2, np.float32))
        for top_p in (0.75, 0.7500002, 1e-300, 1)
    ]
    kept = [np.isfinite(answer.processed).tolist() for answer in sampling.of_server(cases)]
    assert [row.index(True) for row in kept] == [2, 1, 7, 0]
    assert all(row == sorted(row) for row in kept)


@pytest.mark.live
@pytest.mark.parametrize("stable", [True, False], ids=["stable sort", "plain sort"])
def test_processed_logits_are_those_of_transformers(cases, answers, stable, monkeypatch):
    """Bit for bit, by the list of processors that its `generate` makes. Where top-p excludes only
    some of several tokens of one logit, transformers leaves it to PyTorch's sort which; here it is
    as by a stable one."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if stable:
        monkeypatch.setattr(torch, "sort", functools.partial(torch.sort, stable=True))
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=2, vocab_size=2, n_positions=2)
    model = transformers.GPT2LMHeadModel(config)
    for case, answer in zip(cases, answers, strict=True):
        sequence = torch.tensor(case.sequence[None], dtype=torch.long)
        scores = processors_of(model, case)(sequence, torch.tensor(case.logits[None]))[0].numpy()
        if stable:
            assert np.array_equal(answer.processed, scores), case
        else:
            assert np.array_equal(np.sort(answer.processed), np.sort(scores)), case


def processors_of(model, case: Case):
    """The processors of transformers for a case."""
    from transformers import GenerationConfig
    from transformers.generation import LogitsProcessorList

    given = case.sampling
    asked = {
        name: getattr(given, name)
        for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        if given.HasField(name)
    }
    # Not said, it would be 50.
    asked.setdefault("top_k", 0)
    # All of the sequence is the prompt, and of one new token none is there yet.
    if len(case.banned):
        asked |= {"min_new_tokens": 1, "eos_token_id": case.banned.tolist(), "pad_token_id": 0}
    config = GenerationConfig(do_sample=given.sample, **asked)
    model._prepare_special_tokens(config, device="cpu")
    return model._get_logits_processor(
        generation_config=config,
        input_ids_seq_length=len(case.sequence),
        encoder_input_ids=None,
        prefix_allowed_tokens_fn=None,
        logits_processor=LogitsProcessorList(),
        device="cpu",
    )
