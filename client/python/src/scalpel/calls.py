"""Calls as data: from Python arguments to a request, and from the answer's events to a result.

The clients of both worlds, `Model` and `AsyncModel`, have these functions as methods and add only
how bytes are read. Nothing here talks to a server, and nothing checks what the server checks.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from scalpel import errors, notes, observations, request_parts
from scalpel.arguments import Arguments
from scalpel.axes import AxisLike
from scalpel.decoding import Decoder, RunDecoder, SweepDecoder, tokens_of
from scalpel.events import RunEvent, Started, SweepEvent, Tokens
from scalpel.info import ModelInfo, ServerStatus
from scalpel.metrics import Metric, metrics_of
from scalpel.observations import BlockOutputsLike, Captures, LogitsLike, Stats
from scalpel.prompts import Prompt, Prompts, ids_of, text_of
from scalpel.request_parts import Interventions, Variants
from scalpel.run_result import RunResult
from scalpel.spec import given
from scalpel.sweep_result import SweepResult
from scalpel.v1 import model_pb2, prompt_pb2, run_pb2, server_status_pb2, service_pb2, sweep_pb2

Event = TypeVar("Event")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class UnaryCall(Generic[Result]):
    """A call with one answer."""

    method: str
    request: Any
    convert: Callable[[Any], Result]
    timeout: float | None = None
    arguments: Arguments | None = None

    def result(self, response: Any) -> Result:
        """What the answer says."""
        with errors.reading_an_answer():
            return self.convert(response)


@dataclasses.dataclass(frozen=True)
class Question:
    """Something about a call that only the server's tokenizer knows. It is asked first."""

    prompts: tuple[prompt_pb2.Prompt, ...]
    """What is to be tokenized."""
    consider: Callable[[Sequence[Tokens]], None]
    """Raises or warns, as follows from their tokens."""

    def call(self, timeout: float | None) -> StreamCall[Any, Started]:
        """Asks for their tokens, all at once. Nothing runs."""
        request = run_pb2.RunRequest(prompts=self.prompts)
        return validation(_run_call(request, Arguments(), timeout, False, None), Started)


# Refusals of a question that are left to the call itself: it is refused for the same reason, and
# then in terms of its own arguments.
SAID_BY_THE_CALL = (
    errors.RequestError, errors.LimitExceeded, errors.FailedPrecondition, errors.AccessDenied,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StreamCall(Generic[Event, Result]):
    """A call that is answered by a stream."""

    method: str
    request: Any
    arguments: Arguments
    decoder: Callable[[], Decoder[Any, Event]]
    collect: Callable[[list[Event]], Result]
    timeout: float | None = None
    progress: bool = False
    request_id: str | None = None
    divisible: bool = False
    affinity: str | None = None
    """Which calls belong together; None: those of the same first prompt."""
    questions: tuple[Question, ...] = ()
    """To be asked before it."""

    def result(self, events: list[Event]) -> Result:
        """What all events of a whole stream say together."""
        with errors.reading_an_answer():
            return self.collect(events)

    def partial(self, events: list[Event]) -> Result | None:
        """The result of the events before an error, where they are worth something."""
        return self.result(events) if self.divisible and events else None


def run(
    prompts: Prompts,
    interventions: Interventions = (),
    *,
    stats: Stats = (),
    capture: Captures = (),
    logits: LogitsLike | None = None,
    block_outputs: BlockOutputsLike = False,
    output_attentions: bool = False,
    output_hidden_states: bool = False,
    clean: bool = False,
    seed: int | None = None,
    allow_non_finite: bool = False,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[RunEvent, RunResult]:
    """Runs the model once over the prompts under interventions.

    >>> model.run("Mary gave it to", scale("resid_post", 0.1, layer=9), stats={"resid_post": "std"})

    prompts: one or several, of any length: texts, token ids, or what a tokenizer gives (a mapping
        with `input_ids`; what its `attention_mask` hides is left out). Several are a list, an
        array, a pandas Series or any other iterable.
    interventions: made by `zero`, `scale`, `patch` and the others, applied in this order.
    stats: `probe(...)` or a list of them, or site to statistics: `{"resid_post": ["mean", "std"]}`.
    capture: sites whose activations come back, or `capture(...)`, or a list of both.
    logits: a number k for the k largest at the last position (default: 10), "full" for all, "none",
        or `Logits.top_k`, `.full`, `.of` with positions.
    block_outputs: True, or blocks whose output tuple comes back, or `BlockOutputs(...)`.
    output_attentions: those tuples have the attention weights as second element.
    output_hidden_states: the n_layer + 1 hidden states come back.
    clean: every prompt also runs without interventions, and all that is asked for comes back of
        both runs.
    seed: key of the noise (default 0).
    allow_non_finite: admits NaN, infinities and denormal numbers in interventions.
    timeout: seconds; left out, the connection's.
    progress: shows a progress bar (needs tqdm).
    request_id: names the call in the server's log.

    Returns a `RunResult`. Raises a `ScalpelError`: `InvalidArgument` with every wrong argument,
    `LimitExceeded`, `QueueFull`, `DeadlineExceeded`, `Unavailable` and others. Thread-safe.
    """
    request, arguments = run_pb2.RunRequest(), Arguments()
    request_parts.add_experiment(request, arguments, prompts, interventions, stats, capture)
    request_parts.add_logits(request, arguments, logits)
    outputs = observations.block_outputs_of(block_outputs)
    if outputs is not None:
        request.block_outputs.CopyFrom(outputs.proto)
        arguments.add("block_outputs", "block_outputs", outputs)
    request.output_attentions = output_attentions
    request.output_hidden_states = output_hidden_states
    request.include_clean_run = clean
    request.allow_non_finite = allow_non_finite
    arguments.add("include_clean_run", "clean")
    if seed is not None:
        request.seed = seed
    return _run_call(request, arguments, timeout, progress, request_id)


def sweep(
    prompts: Prompts,
    interventions: Interventions = (),
    *,
    over: AxisLike | Sequence[AxisLike] = (),
    variants: Variants | None = None,
    metrics: Metric | Sequence[Metric] = (),
    stats: Stats = (),
    sources: Prompts = (),
    reports: bool = False,
    seed: int | None = None,
    allow_non_finite: bool = False,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[SweepEvent, SweepResult]:
    """Runs the model once for every variant of an experiment, in one call.

    >>> model.sweep(prompt, zero("z"), over=["layers", "heads"], metrics=logit_diff(" A", " B"))

    prompts: each variant runs on all of them.
    interventions, over: a grid. What every cell does, less what the axes set; and the axes, of
        `layers()`, `heads()`, `positions()`, `values(...)`, `directions(...)`, or the words
        "layers", "heads", "positions" for all of them. The last axis is the fastest.
    variants: instead of a grid, a list of interventions for each variant, or a dict by name.
    metrics: what is measured of each variant: `logit_diff(...)`, `prob(...)` and the others.
    stats: as in `run`, for every variant.
    sources: prompts that run once, to patch from (`patch(..., from_source=0)`) and to compare with.
    reports: every variant says what its interventions did.
    seed, allow_non_finite, timeout, progress, request_id: as in `run`.

    Returns a `SweepResult`. Raises as `run`; a sweep that was cut short, by its deadline or the
    server, leaves what came in the exception's `partial`. Warns (`TokenWarning`) of a metric's word
    without a space where the model has a token for the same word with it. Thread-safe.
    """
    request, arguments = sweep_pb2.SweepRequest(), Arguments()
    request_parts.add_prompts(request.prompts, arguments, "prompts", prompts)
    request_parts.add_prompts(request.sources, arguments, "sources", sources)
    count = len(request.prompts)
    if variants is None:
        request_parts.add_grid(request, arguments, interventions, over, count)
    elif not request_parts.is_empty(interventions) or not request_parts.is_empty(over):
        raise TypeError("variants: give either interventions and over, or variants")
    else:
        request_parts.add_variants(request, arguments, variants, count)
    measured = metrics_of(metrics)
    request.metrics.extend(metric.proto for metric in measured)
    arguments.add_list("metrics", "metrics", measured, isinstance(metrics, Metric))
    request_parts.add_stats(request, arguments, stats)
    request.reports = reports
    request.allow_non_finite = allow_non_finite
    if seed is not None:
        request.seed = seed
    call = _sweep_call(request, arguments, timeout, progress, request_id)
    return dataclasses.replace(call, questions=_about_words(measured))


def run_request(
    request: run_pb2.RunRequest,
    *,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[RunEvent, RunResult]:
    """Runs a message of the contract as it is: `scalpel.load_request(path)` reads one from a file.
    Violations name the message's fields. Otherwise as `run`."""
    return _run_call(request_parts.copied(request), Arguments(), timeout, progress, request_id)


def sweep_request(
    request: sweep_pb2.SweepRequest,
    *,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[SweepEvent, SweepResult]:
    """Runs a sweep's message of the contract as it is. Otherwise as `sweep`."""
    return _sweep_call(request_parts.copied(request), Arguments(), timeout, progress, request_id)


def validation(call: StreamCall[Any, Any], kind: type[Result]) -> StreamCall[Any, Result]:
    """The same request, to be checked only; its one event, of this kind, is the result."""
    request = request_parts.copied(call.request)
    request.validate_only = True

    def collect(events: list[Any]) -> Result:
        (started,) = events
        assert isinstance(started, kind)
        return started

    return StreamCall(
        call.method, request, call.arguments, call.decoder, collect, call.timeout,
        request_id=call.request_id,
    )  # fmt: skip


def get_info(*, model: str | None = None, timeout: float | None = None) -> UnaryCall[ModelInfo]:
    """Asks for the served model, its sites and limits, and what its cache holds now."""
    request = model_pb2.GetModelRequest(**given(model=model))
    return UnaryCall("GetModel", request, ModelInfo, timeout)


def status(*, timeout: float | None = None) -> UnaryCall[ServerStatus]:
    """Asks how the server is: what is under way, and what it has done since it started. For
    operators: raises PermissionDenied for callers of another role."""
    return UnaryCall("GetStatus", server_status_pb2.GetStatusRequest(), ServerStatus, timeout)


def tokenize(text: str, *, timeout: float | None = None) -> UnaryCall[Tokens]:
    """Text to tokens: `.ids`, and `.tokens` as text. Raises FailedPrecondition where the server's
    model has no tokenizer, TypeError for what is not one text. Thread-safe."""
    request = service_pb2.TokenizeRequest(text=text_of(text))
    return UnaryCall("Tokenize", request, _tokens, timeout)


def detokenize(ids: int | Prompt, *, timeout: float | None = None) -> UnaryCall[str]:
    """Token ids to text, in any form in which prompts take them; bytes that form no character are
    shown as U+FFFD. Raises InvalidArgument for an id that the tokenizer does not have. Thread-safe.
    """
    request = service_pb2.DetokenizeRequest(ids=ids_of(ids))
    return UnaryCall("Detokenize", request, lambda response: str(response.text), timeout)


def detokenize_bytes(ids: int | Prompt, *, timeout: float | None = None) -> UnaryCall[bytes]:
    """Token ids to the exact bytes, which need not be whole characters. Otherwise as
    `detokenize`."""
    request = service_pb2.DetokenizeRequest(ids=ids_of(ids))
    return UnaryCall("Detokenize", request, lambda response: bytes(response.raw), timeout)


def token_id(text: str, *, timeout: float | None = None) -> UnaryCall[int]:
    """The id of the one token that a text is, with the space before it if it has one: `" Mary"`.
    Raises `InvalidArgument`, a ValueError, where the text is several tokens. Thread-safe."""
    request = service_pb2.TokenizeRequest(text=text_of(text))
    return UnaryCall("Tokenize", request, _only_id, timeout)


def _about_words(measured: Sequence[Metric]) -> tuple[Question, ...]:
    words = notes.bare_words(measured)
    if not words:
        return ()
    both = [*words, *(f" {word}" for word in words)]
    prompts = tuple(prompt_pb2.Prompt(text=text) for text in both)
    return (Question(prompts, functools.partial(notes.warn_of_bare_words, words)),)


def _run_call(
    request: run_pb2.RunRequest,
    arguments: Arguments,
    timeout: float | None,
    progress: bool,
    request_id: str | None,
) -> StreamCall[RunEvent, RunResult]:
    def collect(events: list[RunEvent]) -> RunResult:
        return RunResult(request, events)

    return StreamCall("Run", request, arguments, RunDecoder, collect, timeout, progress, request_id)


def _sweep_call(
    request: sweep_pb2.SweepRequest,
    arguments: Arguments,
    timeout: float | None,
    progress: bool,
    request_id: str | None,
) -> StreamCall[SweepEvent, SweepResult]:
    def collect(events: list[SweepEvent]) -> SweepResult:
        return SweepResult(request, events)

    return StreamCall(
        "Sweep", request, arguments, SweepDecoder, collect, timeout, progress, request_id,
        divisible=True,
    )  # fmt: skip


def _tokens(response: service_pb2.TokenizeResponse) -> Tokens:
    return tokens_of(response.ids, response.tokens)


def _only_id(response: service_pb2.TokenizeResponse) -> int:
    if len(response.ids) != 1:
        what = f"not one token but {len(response.ids)}: {list(response.tokens)}"
        raise errors.InvalidArgument(what)
    return int(response.ids[0])
