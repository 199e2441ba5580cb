"""What the stream of a generation brings, as objects, in the order in which it comes. Streams are
said by their index in `GenerationStarted.streams`, steps are counted from 0, which is the pass over
the prompt."""

from __future__ import annotations

import dataclasses
import math

from scalpel import token_text
from scalpel.events import Cost, Finished, ProbeResult, Report, TokenLogit, Tokens
from scalpel.tensors import Tensor
from scalpel.v1 import generate_pb2


@dataclasses.dataclass(frozen=True)
class StreamInfo:
    """One stream: a continuation of a prompt."""

    prompt: int
    """The prompt, by index."""
    continuation: int
    """Which continuation of it."""
    unsteered: bool
    """Whether it is a twin, which runs without interventions."""


@dataclasses.dataclass(frozen=True, repr=False)
class GenerationStarted:
    """The request was accepted. First, once; of `validate_generate`, the only one."""

    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What it will cost if every stream is as long as it may be."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens."""
    streams: tuple[StreamInfo, ...]
    """The streams."""
    kv_bytes: int
    """Bytes that are reserved for keys and values."""
    normalized: generate_pb2.GenerateRequest
    """The request as understood."""

    def __repr__(self) -> str:
        return f"<GenerationStarted {self.request_id}: {len(self.streams)} streams, {self.cost}>"


@dataclasses.dataclass(frozen=True)
class StepStatistics:
    """Probes' results of one layer at one step. What continuations of one prompt share, which is
    step 0, comes once, with the first of them; so do tensors and logits."""

    stream: int
    """The stream."""
    step: int
    """The step."""
    layer: int | None
    """None for sites without layers."""
    results: tuple[ProbeResult, ...]
    """By site in order of computation, then probe."""


@dataclasses.dataclass(frozen=True)
class StepTensor:
    """A capture, or full logits, of one step."""

    stream: int
    """The stream."""
    step: int
    """The step."""
    tensor: Tensor
    """The tensor."""


@dataclasses.dataclass(frozen=True)
class StepLogits:
    """Decoded logits of one step, before the sampler."""

    stream: int
    """The stream."""
    step: int
    """The step."""
    tokens: tuple[TokenLogit, ...]
    """By falling logit, or in the order of the ids asked."""


@dataclasses.dataclass(frozen=True)
class GeneratedToken:
    """A new token."""

    stream: int
    """The stream."""
    step: int
    """The step that gave it: 0 for the first."""
    token_id: int
    """The token."""
    token: str
    """The token decoded by itself; `<50300>` for an id that the tokenizer does not have, and empty
    where the model has no tokenizer."""
    text: str
    """What it adds to the stream's text: whole characters, perhaps none."""
    log_prob: float
    """Natural logarithm of its probability under the softmax of the step's logits."""
    sampling_log_prob: float
    """The same under the distribution that it was drawn from; 0 where nothing is drawn."""

    @property
    def prob(self) -> float:
        """Its probability under the softmax of the step's logits."""
        return math.exp(self.log_prob)

    @property
    def shown(self) -> str:
        """The token decoded, or `<50300>` where it has no text."""
        return self.token or token_text.named(self.token_id)


@dataclasses.dataclass(frozen=True)
class StreamFinished:
    """A stream has ended."""

    stream: int
    """The stream."""
    reason: str
    """`length`, `stop_id`, `stop_string`, or `non_finite` where there was no next token."""
    stop_string: str
    """The text that ended it, with `stop_string`."""
    ids: tuple[int, ...]
    """The new tokens."""
    text: str
    """Their text, up to the text that ended it; empty without a tokenizer."""


GenerationEvent = (
    GenerationStarted | StepStatistics | StepTensor | StepLogits | GeneratedToken
    | StreamFinished | Report | Finished
)  # fmt: skip
