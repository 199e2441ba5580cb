"""Generations as calls: from Python arguments to a request, as `scalpel.calls` has the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scalpel import request_parts
from scalpel.arguments import Arguments
from scalpel.calls import StreamCall
from scalpel.generation_decoding import GenerationDecoder
from scalpel.generation_events import GenerationEvent
from scalpel.generation_result import GenerationResult
from scalpel.observations import Captures, LogitsLike, Stats
from scalpel.place import index_list
from scalpel.prompts import Prompts
from scalpel.request_parts import Interventions
from scalpel.spec import enum_value, given
from scalpel.v1 import generate_pb2

KvReuse = Literal["intervened", "clean_prompt", "recompute_all"]

# The arguments of `generate` that are fields of a part of the request.
_STOP = ("max_new_tokens", "min_new_tokens", "ignore_eos")
_SAMPLING = ("sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def generate(
    prompts: Prompts,
    interventions: Interventions = (),
    *,
    max_new_tokens: int,
    reuse_kv: KvReuse | None = None,
    unsteered: bool = False,
    continuations: int | None = None,
    sample: bool = False,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    stop_ids: int | Sequence[int] = (),
    ignore_eos: bool = False,
    min_new_tokens: int | None = None,
    stats: Stats = (),
    capture: Captures = (),
    logits: LogitsLike | None = None,
    allow_non_finite: bool = False,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[GenerationEvent, GenerationResult]:
    """Continues prompts token by token under interventions.

    >>> model.generate("Mary gave it to", scale("resid_post", 0.1, layer=9, steps="generated"),
    ...                max_new_tokens=20, reuse_kv="intervened", unsteered=True)

    Step 0 is the pass over the prompt; each later step reads one generated token. Interventions,
    statistics and captures act in the steps of their `steps=`, or in all; position -1 is the newest
    token.

    prompts, interventions, stats, capture: as in `run`; statistics and captures are of each step.
    max_new_tokens: of each stream. min_new_tokens: tokens before which none that ends it is chosen.
    reuse_kv: what a step keeps for the next ones; required where there are interventions.
        "intervened": keys and values as the interventions left them. A step computes its new tokens
        alone, as HuggingFace's `generate` does under hooks.
        "clean_prompt": the same after a prompt that is read without interventions, which then
        select generated steps only.
        "recompute_all": nothing. Each step is a `run` over all tokens so far.
    unsteered: each stream has a twin without interventions, with the same random numbers.
    continuations: streams of each prompt (default 1).
    sample: draws each token; otherwise it is the most probable one.
    temperature, top_k, top_p, min_p, repetition_penalty: as in HuggingFace's `generate`.
    seed: key of the draws and of the noise (default 0). Equal seeds give equal texts.
    stop, stop_ids: texts, and tokens besides the model's own, that end a stream. ignore_eos: the
        model's own does not.
    logits: as in `run`, of each step, before the sampler; left out: none.
    allow_non_finite, timeout, progress, request_id: as in `run`.

    Returns a `GenerationResult`. Raises as `run`; one that its deadline or the server cuts short
    leaves what came in the exception's `partial`. Thread-safe.
    """
    request, arguments = generate_pb2.GenerateRequest(), _arguments()
    request_parts.add_experiment(request, arguments, prompts, interventions, stats, capture)
    request_parts.add_logits(request, arguments, logits)
    _add_sampling(request, sample, temperature, top_k, top_p, min_p, repetition_penalty)
    _add_stop(request, max_new_tokens, min_new_tokens, stop, stop_ids, ignore_eos)
    if reuse_kv is not None:
        number = enum_value(generate_pb2.KvReuse, "KV_REUSE_", reuse_kv, "reuse_kv")
        request.reuse_kv = number  # type: ignore[assignment]
    for name, value in given(continuations=continuations, seed=seed).items():
        setattr(request, name, value)
    request.unsteered, request.allow_non_finite = unsteered, allow_non_finite
    return _call(request, arguments, timeout, progress, request_id)


def generate_request(
    request: generate_pb2.GenerateRequest,
    *,
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> StreamCall[GenerationEvent, GenerationResult]:
    """Runs a generation's message of the contract as it is. Otherwise as `generate`."""
    return _call(request_parts.copied(request), Arguments(), timeout, progress, request_id)


def _add_sampling(
    request: generate_pb2.GenerateRequest,
    sample: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float | None,
) -> None:
    """Fills how a token is chosen, where anything is said of it."""
    chosen = given(
        sample=sample or None, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty,
    )  # fmt: skip
    if chosen:
        request.sampling.CopyFrom(generate_pb2.Sampling(**chosen))


def _add_stop(
    request: generate_pb2.GenerateRequest,
    max_new_tokens: int,
    min_new_tokens: int | None,
    stop: str | Sequence[str],
    stop_ids: int | Sequence[int],
    ignore_eos: bool,
) -> None:
    """Fills where a stream ends."""
    request.stop.CopyFrom(
        generate_pb2.Stop(
            max_new_tokens=max_new_tokens,
            ids=index_list(stop_ids, "stop_ids"),
            strings=[stop] if isinstance(stop, str) else list(stop),
            ignore_eos=ignore_eos,
            **given(min_new_tokens=min_new_tokens),
        )
    )


def _arguments() -> Arguments:
    """Which argument each field of the request's parts comes from."""
    arguments = Arguments()
    for part, names in (("stop", _STOP), ("sampling", _SAMPLING)):
        for name in names:
            arguments.add(f"{part}.{name}", name)
    arguments.add("stop.strings", "stop")
    arguments.add("stop.ids", "stop_ids")
    return arguments


def _call(
    request: generate_pb2.GenerateRequest,
    arguments: Arguments,
    timeout: float | None,
    progress: bool,
    request_id: str | None,
) -> StreamCall[GenerationEvent, GenerationResult]:
    def collect(events: list[GenerationEvent]) -> GenerationResult:
        return GenerationResult(request, events)

    return StreamCall(
        "Generate", request, arguments, GenerationDecoder, collect, timeout, progress, request_id,
        divisible=True,
    )  # fmt: skip
