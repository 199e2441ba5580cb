"""One stream of a generation: its text, and what was observed of its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scalpel import lookup
from scalpel.events import ProbeResult, TokenLogit
from scalpel.generation_events import (
    GeneratedToken,
    StepLogits,
    StepStatistics,
    StepTensor,
    StreamFinished,
    StreamInfo,
)
from scalpel.stats import Stats
from scalpel.tensors import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

StreamEvent = StepStatistics | StepTensor | StepLogits | GeneratedToken | StreamFinished
Scalar = TypeVar("Scalar", bound=np.generic)


class GeneratedStream:
    """A continuation of a prompt. Immutable, but for the elements of arrays.

    A place is said as in `RunResult`. Steps count from 0, the pass over the prompt, whose token is
    the first. What a method gives of several steps has them as its first axis; `step` says one.
    """

    index: int
    """Its index among the streams."""
    prompt: int
    """The prompt, by index."""
    continuation: int
    """Which continuation of it."""
    unsteered: bool
    """Whether it is a twin, which runs without interventions."""
    generated: tuple[GeneratedToken, ...]
    """The new tokens with all that is said of each."""
    text: str
    """Their text, up to the text that ended the stream; empty without a tokenizer."""
    finish_reason: str | None
    """`length`, `stop_id`, `stop_string`, or `non_finite` where there was no next token; None where
    the generation was cut short."""
    stop_string: str
    """The text that ended it, with `stop_string`."""

    def __init__(
        self,
        index: int,
        info: StreamInfo,
        events: Sequence[StreamEvent],
        probes: lookup.Names,
        captures: lookup.Names,
    ):
        """`events`: its own, and those of step 0 that it shares."""
        self.index, self.prompt = index, info.prompt
        self.continuation, self.unsteered = info.continuation, info.unsteered
        self.generated = tuple(e for e in events if isinstance(e, GeneratedToken))
        end = next((e for e in events if isinstance(e, StreamFinished)), None)
        self.text = end.text if end else "".join(token.text for token in self.generated)
        self.finish_reason = end.reason if end else None
        self.stop_string = end.stop_string if end else ""
        self._probes, self._captures = probes, captures
        # A step is whole once its token is there, or cannot be.
        steps = len(self.generated) + (self.finish_reason == "non_finite")
        self._results: list[list[ProbeResult]] = [[] for _ in range(steps)]
        self._tensors: list[list[Tensor]] = [[] for _ in range(steps)]
        self._logits: dict[int, tuple[TokenLogit, ...]] = {}
        for event in events:
            if isinstance(event, StepStatistics) and event.step < steps:
                self._results[event.step].extend(event.results)
            elif isinstance(event, StepTensor) and event.step < steps:
                self._tensors[event.step].append(event.tensor)
            elif isinstance(event, StepLogits):
                self._logits[event.step] = event.tokens

    @property
    def ids(self) -> tuple[int, ...]:
        """The new tokens' ids."""
        return tuple(token.token_id for token in self.generated)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Each new token decoded by itself, or `<50300>` where it has no text."""
        return tuple(token.shown for token in self.generated)

    @property
    def log_probs(self) -> npt.NDArray[np.float64]:
        """For each new token the logarithm of its probability under the softmax of the logits."""
        return np.array([token.log_prob for token in self.generated], np.float64)

    @property
    def sampling_log_probs(self) -> npt.NDArray[np.float64]:
        """The same under the distribution that it was drawn from; 0 where nothing is drawn."""
        return np.array([token.sampling_log_prob for token in self.generated], np.float64)

    @property
    def labels(self) -> dict[str, Any]:
        """Which stream it is: prompt, continuation, unsteered."""
        names = ("prompt", "continuation", "unsteered")
        return {name: getattr(self, name) for name in names}

    def stats(self, step: int) -> Stats:
        """All statistics of one step."""
        if not 0 <= step < len(self._results):
            raise LookupError(f"there is no step {step}; the last is {len(self.generated) - 1}")
        return Stats(self._results[step], self._probes)

    def stat_steps(self, place: str | None = None) -> tuple[int, ...]:
        """The steps that have statistics, of a place or of any."""
        wanted = None if place is None else self._probes.find(place)
        return tuple(
            step
            for step, results in enumerate(self._results)
            if any(wanted is None or result.index in wanted for result in results)
        )

    def stat(
        self,
        place: str,
        statistic: str | float,
        *,
        step: int | None = None,
        layer: int | None = None,
    ) -> npt.NDArray[np.float64]:
        """One statistic by name, or one quantile by its number: [step, layer, *kept axes]. The axis
        of layers is missing as in `RunResult.stat`, that of steps where `step` says which."""

        def of(one: int) -> npt.NDArray[np.float64]:
            return self.stats(one).array(
                place, statistic, layer=layer, prompt=self.prompt, clean=self.unsteered
            )

        if step is not None:
            return of(step)
        return _stack(place, self.stat_steps(place), of)

    def capture_steps(self, place: str) -> tuple[int, ...]:
        """The steps that have a capture of a place."""
        names = self._captures.names(place)
        return tuple(
            step
            for step, tensors in enumerate(self._tensors)
            if any(tensor.kind == "capture" and tensor.name in names for tensor in tensors)
        )

    def capture(
        self, place: str, *, step: int | None = None, layer: int | None = None
    ) -> npt.NDArray[Any]:
        """A captured activation: [step, layer, *the site's axes]. The axis of layers is missing as
        in `RunResult.capture`, that of steps where `step` says which. Step 0 has all positions of
        the prompt unless `position=` selects some: then say `step`, or see `steps=`."""

        def of(one: int) -> npt.NDArray[Any]:
            found = self.tensors(place, one, layer)
            array: npt.NDArray[Any] = lookup.stack([tensor.numpy() for tensor in found])
            return array

        if step is not None:
            return of(step)
        return _stack(place, self.capture_steps(place), of)

    def tensors(self, place: str, step: int, layer: int | None = None) -> list[Tensor]:
        """Captures of one place and step with what they are, one for each layer."""
        names, layer = self._captures.names(place), self._captures.layer(place, layer)
        found = [
            tensor
            for tensor in (self._tensors[step] if 0 <= step < len(self._tensors) else ())
            if tensor.kind == "capture" and tensor.name in names and layer in (None, tensor.layer)
        ]
        what = f"capture of {place!r} at layer {layer}, step {step}"
        return lookup.by_layer(found, what, self._captures.order(place))

    def top(self, step: int) -> tuple[TokenLogit, ...]:
        """Decoded logits of a step, before the sampler: `.token`, `.token_id`, `.logit`,
        `.log_prob`, `.prob`."""
        if step not in self._logits:
            raise LookupError(f"there are no decoded logits of step {step}; ask with logits=10")
        return self._logits[step]

    def logits(self) -> npt.NDArray[Any]:
        """Full logits of each step, before the sampler: [step, vocab], of `logits="full"`."""
        rows = [t.numpy().reshape(-1) for step in self._tensors for t in step if t.kind == "logits"]
        if not rows:
            raise LookupError("there are no full logits; ask for logits='full', or see `top`")
        return np.stack(rows)

    def __repr__(self) -> str:
        twin = ", unsteered" if self.unsteered else ""
        where = f"prompt {self.prompt}, continuation {self.continuation}{twin}"
        ended = self.finish_reason or "cut short"
        shown = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"<GeneratedStream {where}: {shown!r}, {len(self.generated)} tokens, {ended}>"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A stream, and its twin without interventions."""

    steered: GeneratedStream
    """Under the interventions."""
    unsteered: GeneratedStream
    """Without them, with the same random numbers."""

    @property
    def changed(self) -> tuple[bool, ...]:
        """For each token of the steered stream, whether the twin has another at that step, or
        none."""
        theirs = self.unsteered.ids
        return tuple(
            step >= len(theirs) or token != theirs[step]
            for step, token in enumerate(self.steered.ids)
        )

    @property
    def first_difference(self) -> int | None:
        """The step of the first token that differs, or that only one of them has; None where they
        are the same."""
        if True in self.changed:
            return self.changed.index(True)
        mine, theirs = len(self.steered.ids), len(self.unsteered.ids)
        return mine if mine < theirs else None


def _stack(
    place: str, steps: Sequence[int], of: Callable[[int], npt.NDArray[Scalar]]
) -> npt.NDArray[Scalar]:
    """Arrays of steps along a new first axis."""
    arrays = [of(step) for step in steps]
    if not arrays:
        raise LookupError(f"no step has {place!r}")
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        found = " and ".join(map(str, sorted(shapes)))
        remedy = "say step=, or ask with position=-1 or steps='generated'"
        raise LookupError(f"{place!r} has shapes {found} at different steps: {remedy}")
    return np.stack(arrays)
