"""Activation patching between a clean and a corrupted prompt, with the conventions of its
literature (Meng et al. 2022; Wang et al. 2022; Zhang & Nanda 2024; Heimersheim & Nanda 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from scalpel import calls, operations
from scalpel.alignment import Alignment
from scalpel.arguments import Arguments
from scalpel.axes import Axis, AxisLike, axes_of
from scalpel.calls import StreamCall
from scalpel.events import SweepEvent
from scalpel.metrics import Metric, Tokens, metrics_of, patching_score
from scalpel.observations import Stats
from scalpel.operations import Operation
from scalpel.place import Where
from scalpel.prompts import Parsed, Prompts, parse
from scalpel.spec import Spec, written
from scalpel.sweep_result import SweepResult
from scalpel.v1 import sweep_pb2

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas
    import xarray
    from typing_extensions import Unpack

Direction = Literal["denoising", "noising"]
SCORE = "score"


class PatchingResult(SweepResult):
    """A sweep of patches. Its scores are 0 where the model behaves as on the corrupted prompt, and
    1 where it behaves as on the clean one, in both directions."""

    direction: Direction
    """`denoising`: clean activations into the corrupted run; `noising`: the other way round."""

    def __init__(
        self,
        request: sweep_pb2.SweepRequest,
        events: Sequence[SweepEvent],
        direction: Direction = "denoising",
    ):
        super().__init__(request, events)
        self.direction = direction

    def array(self, metric: str | None = None, *, prompt: int = 0) -> npt.NDArray[np.float64]:
        """As of `SweepResult`; left out, the score."""
        metric = metric or SCORE
        array = super().array(metric, prompt=prompt)
        return 1 - array if metric == SCORE and self.direction == "noising" else array

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Of each pair of prompts: [pair, *shape]."""
        return np.stack([self.array(prompt=pair) for pair in range(len(self.prompts))])

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """The mean over pairs: [*shape]."""
        mean: npt.NDArray[np.float64] = self.scores.mean(axis=0)
        return mean

    def to_xarray(
        self, metric: str | None = None, *, prompt: int | None = None
    ) -> xarray.DataArray:
        """As of `SweepResult`; left out, the score."""
        return super().to_xarray(metric or SCORE, prompt=prompt)

    def to_pandas(self) -> pandas.DataFrame:
        """As of `SweepResult`, with scores as `array` has them."""
        frame = super().to_pandas()
        if self.direction == "noising":
            of_score = frame["metric"] == SCORE
            frame.loc[of_score, "value"] = 1 - frame.loc[of_score, "value"]
        return frame


def patch(
    clean: Prompts,
    corrupted: Prompts,
    site: str = "resid_pre",
    *,
    answer: Tokens,
    wrong: Tokens,
    over: AxisLike | Sequence[AxisLike] = ("layers", "positions"),
    direction: Direction = "denoising",
    answer_position: int | None = None,
    metrics: Metric | Sequence[Metric] = (),
    stats: Stats = (),
    timeout: float | None = None,
    progress: bool = False,
    request_id: str | None = None,
    **where: Unpack[Where],
) -> StreamCall[SweepEvent, PatchingResult]:
    """Activation patching: where does the model hold what tells the two prompts apart?

    >>> result = model.patch("... John gave a drink to", "... Mary gave a drink to",
    ...                      answer=" Mary", wrong=" John")
    >>> result.score  # [layer, position]

    clean, corrupted: a prompt each, or two lists of as many. The two of a pair meet position by
        position, so they have as many tokens, unless `where` says positions that both have, such as
        `position=-1` or `position=tokens(...)`: these are looked up in each of the two.
    site: what is patched, at one place of `over` at a time; `where` narrows it further.
    answer, wrong: the token that is right on the clean prompt, and the one that is right on the
        corrupted; one for all pairs or one for each. The score compares their logits.
    over: axes as in `sweep`.
    direction: "denoising" puts clean activations into the corrupted run, and asks what is enough to
        restore the answer; "noising" puts corrupted activations into the clean run, and asks what
        is needed for it (Heimersheim & Nanda 2024).
    answer_position: whose logits are compared; left out, the last.
    metrics, stats, timeout, progress, request_id: as in `sweep`; these are of the patched run.

    Returns a `PatchingResult`. Its score is (d - d_corrupted) / (d_clean - d_corrupted), with d =
    logit(answer) - logit(wrong): 0 corrupted, 1 clean. Raises as `run`, and ValueError where the
    positions of a pair do not match, before the sweep is asked for. Thread-safe.
    """
    names = directed(direction)
    given_prompts = {"clean": parse(clean, "clean"), "corrupted": parse(corrupted, "corrupted")}
    prompts, sources = (given_prompts[name].messages for name in names)
    pairs = count_pairs(given_prompts)
    refuse_empty_tokens(answer, wrong)
    axes = _axes(over)
    pieces = _pieces(site, pairs, where)
    score = patching_score(answer, wrong, position=answer_position, name=SCORE)
    others = metrics_of(metrics)
    call = calls.sweep(
        prompts, pieces, over=axes, metrics=[score, *others], stats=stats, sources=sources,
        timeout=timeout, progress=progress, request_id=request_id,
    )  # fmt: skip
    for field, name in zip(("prompts", "sources"), names, strict=True):
        call.arguments.add_prompts(field, name, pairs, given_prompts[name].one)
    call_text = written("patch", clean, corrupted, site, answer=answer, wrong=wrong, **where)
    _name_own_arguments(call.arguments, call_text, [score, *others], pieces)
    call.arguments.add_list("grid.axes", "over", axes, isinstance(over, (Axis, str)))
    aligned = Alignment(names, pieces[0].proto.place.where, axes).questions(prompts, sources)

    def collect(events: list[SweepEvent]) -> PatchingResult:
        return PatchingResult(call.request, events, direction)

    return StreamCall(
        call.method, call.request, call.arguments, call.decoder, collect, timeout, progress,
        request_id, divisible=True, questions=(*aligned, *call.questions),
    )  # fmt: skip


def count_pairs(given_prompts: dict[str, Parsed]) -> int:
    """How many pairs of prompts there are."""
    counts = {name: len(parsed.messages) for name, parsed in given_prompts.items()}
    for name, count in counts.items():
        if not count:
            raise ValueError(f"{name}: no prompt; give one, or a list with one for each pair")
    if counts["clean"] != counts["corrupted"]:
        raise ValueError(
            f"corrupted: as many prompts as clean, for they are compared in pairs; there are "
            f"{counts['corrupted']}, and {counts['clean']} of clean"
        )
    return counts["clean"]


def _axes(over: AxisLike | Sequence[AxisLike]) -> list[Axis]:
    axes = axes_of(over)
    if not axes:
        raise ValueError("over: nothing to go over; write an axis, such as over='layers'")
    return axes


def refuse_empty_tokens(answer: Tokens, wrong: Tokens) -> None:
    """Raises ValueError where one of them names nothing."""
    for name, tokens, where in (("answer", answer, "clean"), ("wrong", wrong, "corrupted")):
        is_empty = not tokens if isinstance(tokens, str) else np.size(tokens) == 0
        if is_empty:
            raise ValueError(
                f"{name}: no token; give the one that is right on the {where} prompt, with its "
                "space, such as ' Mary', or one for each pair"
            )


def _pieces(site: str, pairs: int, where: Where) -> list[Operation]:
    """A patch for each pair of prompts, from its own source."""
    if pairs > 1 and where.get("prompt") is not None:
        raise TypeError("prompt: every pair is patched; leave out those that should not be")
    pieces = []
    for pair in range(pairs):
        only = where.copy()
        if pairs > 1:
            only["prompt"] = pair
        pieces.append(operations.patch(site, from_source=pair, name=f"pair {pair}", **only))
    return pieces


def _name_own_arguments(
    arguments: Arguments, call_text: str, metrics: Sequence[Metric], pieces: Sequence[Operation]
) -> None:
    """The score and the patches came from the arguments of `patch` itself."""
    name_score(arguments, call_text, metrics)
    for i, piece in enumerate(pieces):
        own_fields = {
            field: argument
            for field, argument in piece.fields.items()
            if not argument.startswith("from_")
        }
        made = Spec(piece.proto, call_text, {**_WHOLE, **own_fields})
        arguments.add(f"grid.interventions[{i}]", "", made)


_WHOLE = {"": "clean, corrupted"}


def name_score(arguments: Arguments, call_text: str, metrics: Sequence[Metric]) -> None:
    """The first metric is the score: it came from the call's own arguments."""
    score, *others = metrics
    for i, metric in enumerate(others):
        arguments.add(f"metrics[{i + 1}]", f"metrics[{i}]", metric)
    own = {"target": "answer", "distractor": "wrong", "position": "answer_position"}
    fields = {field: own.get(argument, argument) for field, argument in score.fields.items()}
    arguments.add("metrics[0]", "", Spec(score.proto, call_text, {**_WHOLE, **fields}))


def directed(direction: Direction) -> tuple[str, str]:
    """What the two prompts of a pair are called: the one that runs, and the one that is read."""
    if direction not in ("denoising", "noising"):
        raise ValueError(f"direction: {direction!r} is neither 'denoising' nor 'noising'")
    return ("corrupted", "clean") if direction == "denoising" else ("clean", "corrupted")
