"""What a sweep measures of each variant, computed on the server from the logits of a prompt in
double precision.

A token is its text, with the space before it if it has one (`" Mary"`), or its id. `position`:
whose logits are read, negative from the prompt's end; left out, the last. `name` finds the values
again; left out, they have the contract's name of the metric with its number, such as
`logit_diff[0]` for the first, or `log_probs[1]`. Logarithms are natural; probabilities are of the
softmax over the whole vocabulary.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from scalpel.spec import Spec, given, written
from scalpel.v1 import output_pb2, sweep_pb2

# A token by text or id.
Token = str | int
# One token, or one for each prompt.
Tokens = Token | Sequence[Token]


class Metric(Spec[sweep_pb2.Metric]):
    """What is measured: made by the functions of this module."""


def logit(*tokens: Token, position: int | None = None, name: str | None = None) -> Metric:
    """Logits of these tokens, one number each."""
    return _of_tokens("logit", "logits", tokens, position, name)


def log_prob(*tokens: Token, position: int | None = None, name: str | None = None) -> Metric:
    """Logarithms of the probabilities of these tokens, one number each."""
    return _of_tokens("log_prob", "log_probs", tokens, position, name)


def prob(*tokens: Token, position: int | None = None, name: str | None = None) -> Metric:
    """Probabilities of these tokens, one number each."""
    return _of_tokens("prob", "probabilities", tokens, position, name)


def rank(*tokens: Token, position: int | None = None, name: str | None = None) -> Metric:
    """Ranks of these tokens, one number each; 0 is the top."""
    return _of_tokens("rank", "ranks", tokens, position, name)


def logit_diff(
    target: Tokens, distractor: Tokens, *, position: int | None = None, name: str | None = None
) -> Metric:
    """logit(target) - logit(distractor) (Wang et al. 2022). Each is one token for all prompts, or a
    list of one for each prompt."""
    call = written("logit_diff", target, distractor, position=position, name=name)
    difference = _difference(target, distractor)
    return _metric(call, position, name, _difference_fields(target, distractor),
                   logit_diff=sweep_pb2.LogitDiff(**difference))  # fmt: skip


def kl_from_clean(*, position: int | None = None, name: str | None = None) -> Metric:
    """KL(clean || variant) of the next-token distribution, in nats."""
    call = written("kl_from_clean", position=position, name=name)
    return _metric(call, position, name, {}, kl_from_clean=sweep_pb2.KlFromClean())


def top1_agreement(*, position: int | None = None, name: str | None = None) -> Metric:
    """1 where the most probable token is that of the clean run, else 0."""
    call = written("top1_agreement", position=position, name=name)
    return _metric(call, position, name, {}, top1_agreement=sweep_pb2.Top1Agreement())


def top_k(k: int, *, position: int | None = None, name: str | None = None) -> Metric:
    """The k most probable tokens, decoded: no numbers, see `Variant.top`."""
    call = written("top_k", k, position=position, name=name)
    return _metric(call, position, name, {"k": "k"}, top_k=output_pb2.TopK(k=k))


def loss(*, name: str | None = None) -> Metric:
    """The mean of -log p(next token) over the prompt, in nats."""
    return _metric(written("loss", name=name), None, name, {}, loss=sweep_pb2.Loss())


def patching_score(
    target: Tokens,
    distractor: Tokens,
    *,
    source: int | Sequence[int] | None = None,
    position: int | None = None,
    name: str | None = None,
) -> Metric:
    """(d(variant) - d(prompt)) / (d(source) - d(prompt)), with d the logit difference of `target`
    and `distractor`: 0 where the intervention changes nothing, 1 where the prompt then behaves as
    its source (Meng et al. 2022, Wang et al. 2022).

    `source`: one for all prompts or one for each, by index; left out, source i for prompt i.
    `model.patch` says it in terms of clean and corrupted prompts.
    """
    call = written(
        "patching_score", target, distractor, source=source, position=position, name=name
    )
    sources = [source] if isinstance(source, int) else source
    difference = _difference(target, distractor)
    message = sweep_pb2.PatchingScore(**difference, **given(sources=sources))
    fields = {**_difference_fields(target, distractor), "sources": "source"}
    if isinstance(source, int):
        fields["sources[0]"] = "source"
    return _metric(call, position, name, fields, patching_score=message)


def metrics_of(metrics: Metric | Sequence[Metric]) -> list[Metric]:
    """What `sweep` takes as `metrics`, as a list."""
    if isinstance(metrics, Metric):
        return [metrics]
    for one in metrics:
        if not isinstance(one, Metric):
            raise TypeError(f"metrics: {one!r} is no metric; write logit_diff(' Mary', ' John')")
    return list(metrics)


def _metric(
    call: str, position: int | None, name: str | None, fields: dict[str, str], **kind: Any
) -> Metric:
    ((field, content),) = kind.items()
    message = sweep_pb2.Metric(**given(position=position, name=name), **{field: content})
    below = {f"{field}.{path}": argument for path, argument in fields.items()}
    return Metric(message, call, {**below, "position": "position", "name": "name"})


def _split(tokens: Tokens) -> tuple[list[int], list[str]]:
    """Ids and texts, which the contract has in this order."""
    several: list[Any] = list(tokens) if _is_list(tokens) else [tokens]  # type: ignore[arg-type]
    texts = [token for token in several if isinstance(token, str)]
    ids = [operator.index(token) for token in several if not isinstance(token, str)]
    if several != [*ids, *texts]:
        raise TypeError("tokens: give those by id before those by text; so they come back")
    return ids, texts


def _is_list(tokens: Any) -> bool:
    return not isinstance(tokens, (str, int)) and getattr(tokens, "ndim", 1) > 0


def _of_tokens(
    function: str, kind: str, tokens: tuple[Token, ...], position: int | None, name: str | None
) -> Metric:
    call = written(function, *tokens, position=position, name=name)
    ids, texts = _split(tokens)
    message = sweep_pb2.MetricTokens(ids=ids, texts=texts)
    fields = {"": "tokens", "ids": "tokens", "texts": "tokens"}
    return _metric(call, position, name, fields, **{kind: message})


def _difference(target: Tokens, distractor: Tokens) -> dict[str, Any]:
    targets, target_texts = _split(target)
    distractors, distractor_texts = _split(distractor)
    return {
        "targets": targets,
        "target_texts": target_texts,
        "distractors": distractors,
        "distractor_texts": distractor_texts,
    }


def _difference_fields(target: Tokens, distractor: Tokens) -> dict[str, str]:
    fields = {}
    for argument, tokens in (("target", target), ("distractor", distractor)):
        for field in (f"{argument}s", f"{argument}_texts"):
            fields[field] = argument
            if not _is_list(tokens):
                fields[f"{field}[0]"] = argument
    return fields
