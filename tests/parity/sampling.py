"""How a next token is chosen: the server's own code, run by a small program, and the same in numpy,
probabilities in double precision."""

import dataclasses
import struct
import subprocess

import numpy as np

from tests.parity import noise
from tests.support import environment

environment.import_stubs()

from scalpel.v1.generate_pb2 import Sampling  # noqa: E402

_DRAW_WORD = 0x53414D50
_CHOICE = np.dtype([("id", "=i4"), ("log_prob", "=f4"), ("sampling_log_prob", "=f4")])


@dataclasses.dataclass
class Case:
    """Logits, and how a token is chosen of them."""

    sampling: Sampling
    logits: np.ndarray  # [vocabulary], float32
    sequence: np.ndarray = dataclasses.field(default_factory=lambda: np.array([], np.int32))
    banned: np.ndarray = dataclasses.field(default_factory=lambda: np.array([], np.int32))
    # Seed, prompt, continuation and step of each draw: [draws, 4].
    draws: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 4), np.uint64))


@dataclasses.dataclass
class Answer:
    """What the server makes of a case."""

    processed: np.ndarray  # [vocabulary], float32
    choices: np.ndarray  # [draws], of `id`, -1 for none, `log_prob` and `sampling_log_prob`


def of_server(cases: list[Case]) -> list[Answer]:
    """The server's answers, by one process."""
    given = b"".join(map(_encode, cases))
    command = [str(environment.sampler_tool())]
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True, timeout=300)
    answers, offset = [], 0
    for case in cases:
        size, draws = len(case.logits), len(case.draws)
        processed = np.frombuffer(done.stdout, np.float32, size, offset)
        offset += processed.nbytes
        choices = np.frombuffer(done.stdout, _CHOICE, draws, offset)
        offset += choices.nbytes
        answers.append(Answer(processed, choices))
    assert offset == len(done.stdout)
    return answers


def _encode(case: Case) -> bytes:
    message = case.sampling.SerializeToString()
    parts = [
        case.logits.astype(np.float32),
        case.sequence.astype(np.int32),
        case.banned.astype(np.int32),
        case.draws.astype(np.uint64),
    ]
    sizes = [len(message), *map(len, parts)]
    return struct.pack("=5i", *sizes) + message + b"".join(part.tobytes() for part in parts)


# ---- the same in numpy -------------------------------------------------------------------------


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The softmax."""
    weights = np.exp(scores.astype(np.float64) - scores.max())
    return weights / weights.sum()


def processed(case: Case) -> tuple[np.ndarray, float]:
    """The logits as the processors leave them, float32; and how near, relatively, a token comes to
    the bounds of top-p and min-p, where rounding decides whether it is excluded."""
    given = case.sampling
    scores = case.logits.astype(np.float32)
    penalty = np.float32(given.repetition_penalty if given.HasField("repetition_penalty") else 1)
    held = np.unique(case.sequence)
    scores[held] = np.where(scores[held] < 0, scores[held] * penalty, scores[held] / penalty)
    scores[case.banned] = -np.inf
    nearest = np.inf
    if not given.sample:
        return scores, nearest
    scores /= np.float32(given.temperature if given.HasField("temperature") else 1)
    if given.HasField("top_k"):
        scores[scores < np.sort(scores)[-given.top_k]] = -np.inf
    if given.HasField("top_p") and given.top_p < 1:
        rising = np.argsort(scores, kind="stable")
        sums = np.cumsum(probabilities(scores)[rising])[:-1]
        bound = 1 - given.top_p
        nearest = min(nearest, np.abs(sums / bound - 1).min(initial=np.inf))
        scores[rising[:-1][sums <= bound]] = -np.inf
    if given.HasField("min_p") and given.min_p > 0:
        share = probabilities(scores)
        share /= share.max()
        nearest = min(nearest, np.abs(share[share < 1] / given.min_p - 1).min(initial=np.inf))
        scores[share < given.min_p] = -np.inf
    return scores, nearest


def uniforms(draws: np.ndarray) -> np.ndarray:
    """The random number of each draw, within (0, 1)."""
    numbers = []
    for seed, prompt, continuation, step in draws.tolist():
        counter = np.array([[step, continuation, prompt, _DRAW_WORD]], np.uint64)
        words = noise.philox(counter, seed)[0].tolist()
        numbers.append(((words[0] << 21 | words[1] >> 11) + 0.5) / 2**53)
    return np.array(numbers)


def drawn(scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The token of each draw: the first, by rising id, at which the running sum of the
    probabilities exceeds the random number."""
    sums = np.cumsum(np.exp(scores.astype(np.float64) - scores.max()))
    return np.searchsorted(sums, uniforms(draws) * sums[-1], side="right")
