"""Experiments of more than one call. First the server is asked what the prompts are as tokens; then
the variants of a sweep are written; and a sweep of more variants than the server takes at once is
made in parts, one after the other.

A plan does no I/O: its steps are a generator of calls, to which each answer is sent back. So the
clients of both worlds have one of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from scalpel import calls, chunks
from scalpel.calls import Question, StreamCall
from scalpel.chunks import Chunk
from scalpel.errors import ScalpelError
from scalpel.events import SweepEvent, SweepStarted
from scalpel.info import ModelInfo
from scalpel.v1 import limits_pb2, sweep_pb2

Result = TypeVar("Result")
Answer = TypeVar("Answer")
Steps = Generator[StreamCall[Any, Any], Any, Answer]


@dataclasses.dataclass(frozen=True)
class Plan(Generic[Result]):
    """A sweep whose variants depend on the model, and on the prompts as tokens."""

    outline: StreamCall[SweepEvent, Any]
    """The sweep with a single variant, the clean run: all but the variants can be checked by it."""
    write: Callable[[ModelInfo, SweepStarted], StreamCall[SweepEvent, Result]]
    """The whole, from what the server says of the outline."""

    def run(self, info: ModelInfo) -> Steps[Result]:
        """Makes the sweep."""
        call = yield from self._written(info)
        parts = _parts(call.request, info)
        if len(parts) == 1:
            result: Result = yield call
            return result
        answers: list[tuple[Chunk, list[SweepEvent]]] = []
        end = None if call.timeout is None else time.monotonic() + call.timeout
        try:
            for part in parts:
                left = None if end is None else max(0.0, end - time.monotonic())
                questions = () if answers else call.questions
                events = yield _of_part(call, part, left, questions)
                answers.append((part, events))
        except ScalpelError as error:
            if error.partial:
                answers.append((parts[len(answers)], error.partial))
            error.partial = call.result(_joined(call.request, answers)) if answers else None
            raise
        return call.result(_joined(call.request, answers))

    def check(self, info: ModelInfo) -> Steps[SweepStarted]:
        """Has the whole checked, and says what it would cost."""
        call = yield from self._written(info)
        answers: list[tuple[Chunk, list[SweepEvent]]] = []
        parts = _parts(call.request, info)
        for part in parts:
            of_part = dataclasses.replace(call, request=part.request)
            answers.append((part, [(yield calls.validation(of_part, SweepStarted))]))
        if len(parts) == 1:
            (_, (started,)), *_ = answers
        else:
            started = _joined(call.request, answers)[0]
        assert isinstance(started, SweepStarted)
        return started

    def _written(self, info: ModelInfo) -> Steps[StreamCall[SweepEvent, Result]]:
        started = yield calls.validation(self.outline, SweepStarted)
        return self.write(info, started)


def _of_part(
    call: StreamCall[SweepEvent, Any],
    part: Chunk,
    timeout: float | None,
    questions: tuple[Question, ...],
) -> StreamCall[SweepEvent, list[SweepEvent]]:
    """The call of a part, whose result is its events."""
    return StreamCall(
        call.method, part.request, call.arguments, call.decoder, list, timeout, call.progress,
        call.request_id, divisible=True, affinity=call.affinity, questions=questions,
    )  # fmt: skip


def _parts(request: sweep_pb2.SweepRequest, info: ModelInfo) -> list[Chunk]:
    """The sweep in as few parts as the server takes; its largest variant is the measure."""
    variants = request.variants.variants
    limits = info.limits
    places = max(_places(variant, request, info) for variant in variants)
    variant_bytes = max(variant.ByteSize() for variant in variants) + _NAME_BYTES
    most = min(
        limits.max_variants,
        limits.max_sweep_places // max(1, places),
        _bytes_for_variants(request, limits) // variant_bytes,
    )
    return chunks.split(request, request, max(1, most))


# Of a name that a part of a sweep gives to a variant, with its fields' tags and lengths.
_NAME_BYTES = 40


def _bytes_for_variants(request: sweep_pb2.SweepRequest, limits: limits_pb2.Limits) -> int:
    """A field takes two bytes at least."""
    others = request.ByteSize() - request.variants.ByteSize()
    return min(limits.max_request_bytes, 2 * limits.max_request_fields) - others


def _places(variant: sweep_pb2.Variant, request: sweep_pb2.SweepRequest, info: ModelInfo) -> int:
    """What the server counts for `max_sweep_places`, or more: places by layers and prompts."""
    depth, prompts = info.config.n_layer, len(request.prompts)
    edits = 0
    for intervention in variant.interventions:
        where = intervention.place.where
        edits += (len(where.layers) or depth) * (len(where.prompts) or prompts)
    return edits + len(request.probes) * depth * prompts


def _joined(
    request: sweep_pb2.SweepRequest, answers: list[tuple[Chunk, list[SweepEvent]]]
) -> list[SweepEvent]:
    events = answers[0][1]
    started = next(event for event in events if isinstance(event, SweepStarted))
    return chunks.join(chunks.outline(request, [started]), answers)


# ---- the two worlds ------------------------------------------------------------------------------


def read(client: Any, steps: Steps[Answer]) -> Answer:
    """Makes the calls of a plan, in a thread."""
    try:
        call = next(steps)
        while True:
            try:
                answer = client.read(call)
            except ScalpelError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as end:
        result: Answer = end.value
        return result


async def read_awaited(client: Any, steps: Steps[Answer]) -> Answer:
    """The same in an event loop."""
    try:
        call = next(steps)
        while True:
            try:
                answer = await client.read(call)
            except ScalpelError as error:
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as end:
        result: Answer = end.value
        return result
