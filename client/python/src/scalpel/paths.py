"""Path patching: which direct paths between components carry what tells two prompts apart (Wang et
al. 2022; Goldowsky-Dill et al. 2023)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from scalpel import calls, request_parts
from scalpel.alignment import Alignment
from scalpel.axes import Axis, AxisLike, axes_of
from scalpel.calls import StreamCall
from scalpel.cells import as_grid
from scalpel.events import SweepEvent, SweepStarted
from scalpel.info import ModelInfo
from scalpel.metrics import Metric, Tokens, metrics_of
from scalpel.nodes import RECEIVERS, SENDERS, Node, Nodes, node, nodes_of
from scalpel.observations import Stats
from scalpel.patching import Direction, PatchingResult, refuse_empty_tokens
from scalpel.path_ends import Side
from scalpel.path_pairs import Pairs, pairs_of
from scalpel.path_variants import PathVariants
from scalpel.plans import Plan
from scalpel.prompts import Prompts
from scalpel.spec import written


class PathPatchingResult(PatchingResult):
    """A sweep of path patches. Scores are those of a `PatchingResult`: 0 as corrupted, 1 as clean.
    The request has each prompt twice, the second time with all but the paths frozen; what comes of
    these is left out here."""


def path_patch(
    clean: Prompts,
    corrupted: Prompts,
    senders: Nodes,
    receivers: Nodes | None = None,
    *,
    answer: Tokens,
    wrong: Tokens,
    over: AxisLike | Sequence[AxisLike] = (),
    over_receivers: AxisLike | Sequence[AxisLike] = (),
    freeze_mlps: bool = True,
    direction: Direction = "noising",
    answer_position: int | None = None,
    metrics: Metric | Sequence[Metric] = (),
    stats: Stats = (),
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
) -> Plan[PathPatchingResult]:
    """Path patching: what does a receiver get from a sender directly?

    >>> # From every earlier head to the queries of head 6 of layer 10.
    >>> paths = model.path_patch("... John gave a drink to", "... Mary gave a drink to",
    ...                          node("z"), node("q", layer=10, head=6),
    ...                          over=["layers", "heads"], answer=" Mary", wrong=" John")
    >>> paths.score  # [layer, head]

    The senders take their values from the other prompt, all other heads and MLPs keep those of the
    prompt itself, and the receivers' inputs are computed anew from that, LayerNorm included. Then
    the prompt runs with nothing changed but these inputs.

    clean, corrupted, answer, wrong, answer_position: as in `patch`.
    senders: `node("z", layer=9, head=9)`, or a list of nodes, which send together.
    receivers: the same of what reads; left out, the final LayerNorm, whose path is the direct
        effect on the logits.
    over: axes that the senders are swept over; `layers(of=0)` sets the first sender's alone.
    over_receivers: the same of the receivers; the axes are called `to_layer` and so on. All layers
        are those that a path can have; a cell without a path is NaN.
    freeze_mlps: False lets MLPs on the way compute anew, so that a path may go through them
        (as in Wang et al. 2022); attention heads are frozen always.
    direction: "noising" puts corrupted values into the clean run, as the literature does, and asks
        what is needed for the answer; "denoising" is the other way round.
    metrics, stats, timeout, progress, request_id: as in `sweep`; these are of the patched run.

    A direct path stays at its position. What one call of the server cannot hold is made in several.

    Returns a `PathPatchingResult`. Raises as `run`, and ValueError for a sender that comes after
    its receivers, or a pair whose positions do not match. Thread-safe.
    """
    pairs = pairs_of(clean, corrupted, direction)
    refuse_empty_tokens(answer, wrong)
    score = pairs.score(answer, wrong, answer_position)
    measured = [pairs.of_copies_too(one) for one in (score, *metrics_of(metrics))]
    outline = calls.sweep(
        [*pairs.prompts, *pairs.prompts], variants=[()], metrics=measured, stats=stats,
        sources=pairs.sources, timeout=timeout, progress=progress, request_id=request_id,
    )  # fmt: skip
    call_text = written("path_patch", clean, corrupted, senders, receivers, answer=answer)
    pairs.name_arguments(outline.arguments, call_text, measured)
    received = node("ln_f_in") if receivers is None else receivers
    ends = nodes_of(senders, "senders"), nodes_of(received, "receivers")
    axes = axes_of(over), axes_of(over_receivers)
    return Plan(outline, functools.partial(_write, outline, pairs, ends, axes, freeze_mlps))


def _write(
    outline: StreamCall[SweepEvent, Any],
    pairs: Pairs,
    ends: tuple[list[Node], list[Node]],
    axes: tuple[list[Axis], list[Axis]],
    freeze_mlps: bool,
    info: ModelInfo,
    started: SweepStarted,
) -> StreamCall[SweepEvent, PathPatchingResult]:
    """The sweep, in the model and with the prompts as tokens."""
    prompts = started.prompts[: pairs.count]
    for sender in ends[0]:
        aligned = Alignment(pairs.names, sender.proto.where, axes[0])
        aligned.check((*prompts, *started.sources))
    senders = Side(ends[0], SENDERS, axes[0], info, prompts)
    receivers = Side(ends[1], RECEIVERS, axes[1], info, prompts)
    variants = PathVariants(info, senders, receivers, prompts, freeze_mlps)
    request = request_parts.copied(outline.request)
    variants.add_to(request, outline.arguments)

    def collect(events: list[SweepEvent]) -> PathPatchingResult:
        shown = [
            pairs.without_copies(as_grid(event, variants.axes, variants.places)) for event in events
        ]
        return PathPatchingResult(request, shown, pairs.direction)

    call: StreamCall[SweepEvent, Any] = dataclasses.replace(
        outline, request=request, collect=collect
    )
    return call
