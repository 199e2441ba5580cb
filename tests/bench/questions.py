"""What is asked: a prompt, and at most one edit of its forward pass. Known to no library."""

import dataclasses
import functools

import numpy as np

from scalpel.v1 import site_pb2
from tests.parity import noise
from tests.parity.places import ModelShape

# Scalpel's noise is counted by coordinates, so everybody can be given the same.
NOISE_MEAN, NOISE_STD, NOISE_SEED = 10.0, 1.0, 1
SITES = {
    "k": site_pb2.SITE_K,
    "z": site_pb2.SITE_Z,
    "mlp_post": site_pb2.SITE_MLP_POST,
    "resid_pre": site_pb2.SITE_RESID_PRE,
    "resid_post": site_pb2.SITE_RESID_POST,
}


@dataclasses.dataclass(frozen=True)
class Edit:
    """A change at one site of one layer. `operation` is one of zero, scale, noise, patch, steer;
    without `head` or `position` it is all of them. Noise is for even columns only."""

    operation: str
    site: str
    layer: int
    head: int | None = None
    position: int | None = None
    factor: float = 1.0

    @property
    def positions(self) -> slice:
        return slice(None) if self.position is None else slice(self.position, self.position + 1)

    def columns(self, shape: ModelShape) -> slice:
        """Along the site's innermost axis, where heads lie side by side."""
        if self.operation == "noise":
            return slice(None, None, 2)
        if self.head is None:
            return slice(None)
        return slice(self.head * shape.d_head, (self.head + 1) * shape.d_head)


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt under an edit; `source` is the prompt that a patch reads."""

    tokens: tuple[int, ...]
    edit: Edit | None = None
    source: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Work:
    """What a contestant is timed with: some questions of a round.

    `wants` is what must come back: "last" (all logits of the last position), "all" (of every
    position), "top" (the ten largest of the last), "sweep" (some logits and the largest of the
    last), "std" (as sweep, and the standard deviation of every block's output), "boundaries" (as
    top, and five statistics of the residual stream at every boundary of a layer), "states" (as top,
    and hidden states and attentions), "decode" (greedy tokens under the edit). `in_full` asks for
    all logits where there would be ten.
    """

    wants: str
    questions: tuple[Question, ...]
    index: tuple[int, ...]
    clients: int = 1
    in_full: bool = False

    @property
    def full_logits(self) -> bool:
        """Whether logits of the whole vocabulary come back, as a tensor."""
        return self.wants in ("last", "all") or (self.in_full and self.wants != "decode")

    def sample(self, most: int) -> "Work":
        """At most so many of the questions, spread evenly."""
        step = -(-len(self.questions) // most)
        return dataclasses.replace(self, questions=self.questions[::step], index=self.index[::step])


DECODE_TOKENS = 32
BOUNDARY_STATISTICS = ("mean", "std", "min", "max", "l2_norm")


def asked_ids(vocab_size: int) -> np.ndarray:
    """The tokens whose logits a sweep returns: enough to tell answers apart."""
    return np.linspace(0, vocab_size - 1, 64).astype(np.int64)


@functools.lru_cache(maxsize=256)
def noise_of(edit: Edit, tokens: int, shape: ModelShape) -> np.ndarray:
    """The noise that the edit writes, [position, column]."""
    units = shape.units(SITES[edit.site])
    region = [np.arange(tokens)[edit.positions], np.arange(units)[edit.columns(shape)]]
    return noise.noise(
        SITES[edit.site],
        region,
        units,
        seed=NOISE_SEED,
        intervention=0,
        layer=edit.layer,
        prompt=0,
        mean=NOISE_MEAN,
        std=NOISE_STD,
    )


@functools.lru_cache(maxsize=1)
def steering_vector(d_model: int) -> np.ndarray:
    """A direction of a length that bends the answer without drowning the prompt."""
    return np.random.default_rng(0).standard_normal(d_model).astype(np.float32)
