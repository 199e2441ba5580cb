"""The pairs of prompts of path patching. Each prompt is in the request twice: as it is, and as the
copy in which all but the paths is frozen (see `path_variants`). Results show no copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scalpel import request_parts
from scalpel.arguments import Arguments
from scalpel.events import MetricValue, SweepClean, SweepEvent, SweepStarted, Variant
from scalpel.metrics import Metric, Tokens, patching_score
from scalpel.patching import SCORE, Direction, count_pairs, directed, name_score
from scalpel.prompts import Prompts, parse
from scalpel.v1 import prompt_pb2, sweep_pb2


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The pairs of one call."""

    direction: Direction
    names: tuple[str, str]
    """What the two prompts of a pair are called: the one that runs, and the one that is read."""
    prompts: tuple[prompt_pb2.Prompt, ...]
    """Those that run."""
    sources: tuple[prompt_pb2.Prompt, ...]
    """Those that are read."""
    one: bool
    """Whether a single prompt was given, not a list of them."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.prompts)

    def score(self, answer: Tokens, wrong: Tokens, position: int | None) -> Metric:
        """The patching score of prompts and copies."""
        source = list(range(self.count)) * 2 if self.count > 1 else 0
        return patching_score(answer, wrong, source=source, position=position, name=SCORE)

    def of_copies_too(self, metric: Metric) -> Metric:
        """A metric with a token for each pair, with as many for the copies."""
        kind = metric.proto.WhichOneof("kind") or ""
        if self.count == 1 or kind not in ("logit_diff", "patching_score"):
            return metric
        proto: sweep_pb2.Metric = request_parts.copied(metric.proto)
        of_kind = getattr(proto, kind)
        for ids, texts in (
            (of_kind.targets, of_kind.target_texts),
            (of_kind.distractors, of_kind.distractor_texts),
        ):
            if ids and texts:
                raise TypeError(f"{metric}: give the tokens of pairs all by id, or all by text")
            for tokens in (ids, texts):
                if len(tokens) == self.count:
                    tokens.extend(list(tokens))
        return Metric(proto, metric.written, metric.fields)

    def name_arguments(
        self, arguments: Arguments, call_text: str, metrics: Sequence[Metric]
    ) -> None:
        """The prompts, their copies and the score came from the call's own arguments."""
        for field, name in zip(("prompts", "sources"), self.names, strict=True):
            arguments.add_prompts(field, name, self.count, self.one)
        for pair in range(self.count):
            argument = self.names[0] if self.one else f"{self.names[0]}[{pair}]"
            arguments.add(f"prompts[{self.count + pair}]", argument)
        name_score(arguments, call_text, metrics)

    def without_copies(self, event: SweepEvent) -> SweepEvent:
        """An event as if they were not in the request."""
        if isinstance(event, SweepStarted):
            return dataclasses.replace(event, prompts=event.prompts[: self.count])
        if isinstance(event, (SweepClean, Variant)):
            metrics = self._shown(event.metrics)
            stats = tuple(one for one in event.stats if one.prompt < self.count)
            return dataclasses.replace(event, metrics=metrics, stats=stats)
        return event

    def _shown(self, metrics: Sequence[MetricValue]) -> tuple[MetricValue, ...]:
        """Sources count on from the prompts."""
        return tuple(
            one if one.prompt < self.count else _moved(one, -self.count)
            for one in metrics
            if not self.count <= one.prompt < 2 * self.count
        )


def pairs_of(clean: Prompts, corrupted: Prompts, direction: Direction) -> Pairs:
    """The pairs that a call gives. Raises ValueError where they are none."""
    names = directed(direction)
    given = {"clean": parse(clean, "clean"), "corrupted": parse(corrupted, "corrupted")}
    count_pairs(given)
    prompts, sources = (given[name].messages for name in names)
    return Pairs(direction, names, prompts, sources, given[names[0]].one)


def _moved(value: MetricValue, by: int) -> MetricValue:
    return dataclasses.replace(value, prompt=value.prompt + by)
