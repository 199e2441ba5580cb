"""The answer to a generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalpel import display, lookup
from scalpel.events import Cost, Finished, Report, Tokens
from scalpel.generated_stream import GeneratedStream, Pair, StreamEvent
from scalpel.generation_events import (
    GenerationEvent,
    GenerationStarted,
    StepLogits,
    StepStatistics,
    StepTensor,
)
from scalpel.v1 import generate_pb2

if TYPE_CHECKING:
    import pandas


class GenerationResult:
    """Everything that a generation brought. Immutable, but for the elements of arrays.

    A stream is said by its prompt and its continuation, both by index, and by `unsteered=True`
    where its twin is meant.
    """

    request: generate_pb2.GenerateRequest
    """The request as it was sent."""
    normalized: generate_pb2.GenerateRequest
    """The request as the server understood it."""
    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What was foretold to be its cost, if every stream were as long as it may be."""
    kv_bytes: int
    """Bytes that were reserved for keys and values."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens: `.ids` and `.tokens`."""
    streams: tuple[GeneratedStream, ...]
    """All streams, in the order of the contract."""
    reports: tuple[Report, ...]
    """What each intervention did, over all streams and steps."""
    finished: Finished | None
    """Times, and how much was computed; None where the generation was cut short."""

    def __init__(self, request: generate_pb2.GenerateRequest, events: Sequence[GenerationEvent]):
        started = next(event for event in events if isinstance(event, GenerationStarted))
        self.request, self.normalized = request, started.normalized
        self.request_id, self.digest = started.request_id, started.digest
        self.cost, self.kv_bytes, self.prompts = started.cost, started.kv_bytes, started.prompts
        self.reports = tuple(event for event in events if isinstance(event, Report))
        self.finished = next((e for e in reversed(events) if isinstance(e, Finished)), None)
        names = (
            lookup.Names(request.probes, self.normalized.probes),
            lookup.Names(request.captures, self.normalized.captures),
        )
        pairs = zip(started.streams, _by_stream(started, events), strict=True)
        self.streams = tuple(
            GeneratedStream(index, info, own, *names) for index, (info, own) in enumerate(pairs)
        )

    def stream(
        self, prompt: int = 0, continuation: int = 0, *, unsteered: bool = False
    ) -> GeneratedStream:
        """One stream."""
        wanted = (prompt, continuation, unsteered)
        for one in self.streams:
            if (one.prompt, one.continuation, one.unsteered) == wanted:
                return one
        twin = "unsteered stream" if unsteered else "stream"
        raise LookupError(f"there is no {twin} of prompt {prompt}, continuation {continuation}")

    @property
    def text(self) -> str:
        """The text of the only stream that is no twin; of several, see `texts` or `stream`."""
        if len(self.texts) != 1:
            raise LookupError(f"there are {len(self.texts)} streams; see `texts`, or `stream`")
        return self.texts[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all streams that are no twins, in order."""
        return tuple(one.text for one in self.streams if not one.unsteered)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Each stream beside its twin: `.steered`, `.unsteered`, `.first_difference`; empty where
        there are no twins."""
        twins = {(s.prompt, s.continuation): s for s in self.streams if s.unsteered}
        pairs = (
            (one, twins.get((one.prompt, one.continuation)))
            for one in self.streams
            if not one.unsteered
        )
        return tuple(Pair(one, twin) for one, twin in pairs if twin is not None)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each stream and token: prompt, continuation, unsteered, step, token_id,
        token, text, log_prob, sampling_log_prob. Needs pandas."""
        import pandas

        rows = [
            {
                **one.labels,
                "step": token.step,
                "token_id": token.token_id,
                "token": token.shown,
                "text": token.text,
                "log_prob": token.log_prob,
                "sampling_log_prob": token.sampling_log_prob,
            }
            for one in self.streams
            for token in one.generated
        ]
        return pandas.DataFrame(rows)

    def stats_to_pandas(self) -> pandas.DataFrame:
        """One row for each number of each stream and step: prompt, continuation, unsteered, step,
        then the columns of `Stats.to_pandas`. Needs pandas."""
        import pandas

        tables = []
        for one in self.streams:
            for step in one.stat_steps():
                table = one.stats(step).to_pandas().drop(columns=["prompt", "clean"])
                for at, (name, value) in enumerate({**one.labels, "step": step}.items()):
                    table.insert(at, name, value)
                tables.append(table)
        return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()

    def reports_to_pandas(self) -> pandas.DataFrame:
        """One row for each intervention: the fields of `Report`. Needs pandas."""
        import pandas

        return pandas.DataFrame([vars(report) for report in self.reports])

    def __repr__(self) -> str:
        tokens = sum(len(one.generated) for one in self.streams)
        parts = [f"{len(self.prompts)} prompts", f"{len(self.streams)} streams"]
        if self.finished is None:
            parts.append(f"cut short after {tokens} tokens")
        else:
            parts += [f"{tokens} tokens", f"{self.finished.compute_seconds * 1000:.1f} ms"]
        return f"<GenerationResult {self.request_id}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        parts = [
            display.title(f"generation {self.request_id}"),
            display.prompts(self.prompts),
            *(display.generated(self._card(i)) for i in display.first_prompts(self.prompts)),
            display.reports(self.reports),
        ]
        if self.finished is not None:
            parts.append(display.finished(self.finished, ""))
        return "".join(parts)

    def _card(self, prompt: int) -> list[display.GeneratedRow]:
        """The streams of one prompt, each above its twin, with what differs from it."""
        changed = {pair.steered.index: pair.changed for pair in self.pairs}
        own = [one for one in self.streams if one.prompt == prompt]
        own.sort(key=lambda one: (one.continuation, one.unsteered))
        return [
            display.GeneratedRow(
                name=f"prompt {prompt}, continuation {one.continuation}",
                run="unsteered" if one.unsteered else "steered" if changed else "",
                tokens=one.tokens,
                changed=changed.get(one.index, ()),
                end=one.finish_reason or "cut short",
            )
            for one in own
        ]


def _by_stream(
    started: GenerationStarted, events: Sequence[GenerationEvent]
) -> list[list[StreamEvent]]:
    """The events of each stream, in order. What continuations of one prompt share comes with the
    first of them; here each has it."""
    of_stream: list[list[StreamEvent]] = [[] for _ in started.streams]
    for event in events:
        if isinstance(event, (StepStatistics, StepTensor, StepLogits)) and event.step == 0:
            first = started.streams[event.stream]
            for own, info in zip(of_stream, started.streams, strict=True):
                if (info.prompt, info.unsteered) == (first.prompt, first.unsteered):
                    own.append(event)
        elif isinstance(event, StreamEvent):
            of_stream[event.stream].append(event)
    return of_stream
