"""Answers in one form, and whether one agrees with HuggingFace's."""

import dataclasses

import numpy as np

# What the contract promises at full GPT-2 size.
LOGITS_TOLERANCE = 1e-3
# Of other numbers, relative to the largest of their kind at the same layer.
NUMBERS_TOLERANCE = 1e-4
# Two tokens whose logits are nearer than this are one top token: rounding decides between them.
TIE = 1e-4


@dataclasses.dataclass
class Answer:
    """What came back for some questions of a round, the first axis of every array.

    `logits` are those of the tokens `ids`, [question, position, token]; without `ids`, of the whole
    vocabulary. `top` is the largest one's token, [question, position]. `numbers` are what else was
    asked for, [question, layer, ...].
    """

    index: tuple[int, ...]
    logits: np.ndarray
    top: np.ndarray
    ids: np.ndarray | None = None
    numbers: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Agreement:
    """The largest differences; the relative one only where there were other numbers."""

    logits: float = 0.0
    numbers: float = 0.0
    other_tops: int = 0
    compared: int = 0

    @property
    def holds(self) -> bool:
        return (
            self.compared > 0
            and self.logits <= LOGITS_TOLERANCE
            and self.numbers <= NUMBERS_TOLERANCE
            and self.other_tops == 0
        )

    def include(self, other: "Agreement") -> None:
        self.logits = max(self.logits, other.logits)
        self.numbers = max(self.numbers, other.numbers)
        self.other_tops += other.other_tops
        self.compared += other.compared


def compare(reference: Answer, got: Answer, numbers: bool) -> Agreement:
    """Over the questions that both answered. `numbers`: whether those of the reference count."""
    shared = [question for question in got.index if question in set(reference.index)]
    ours = [got.index.index(question) for question in shared]
    theirs = [reference.index.index(question) for question in shared]
    if reference.logits.shape[1] != got.logits.shape[1]:
        raise ValueError(f"logits of {got.logits.shape[1]} positions came back")
    result = Agreement(compared=len(shared))
    for mine, want in zip(ours, theirs, strict=True):
        row = reference.logits[want]
        wanted = row if got.ids is None else np.take_along_axis(row, got.ids[mine], axis=-1)
        result.logits = max(result.logits, _largest(got.logits[mine] - wanted))
        best = np.take_along_axis(row, got.top[mine][:, None], axis=-1)[:, 0]
        result.other_tops += int((row.max(-1) - best > TIE).sum())
    for name in reference.numbers if numbers else ():
        want, have = reference.numbers[name][theirs], got.numbers[name][ours]
        if want.shape != have.shape:
            raise ValueError(f"{name} came back as {have.shape}, not {want.shape}")
        scale = np.abs(want).max(axis=tuple(i for i in range(want.ndim) if i != 1), keepdims=True)
        result.numbers = max(result.numbers, _largest((have - want) / scale))
    return result


def moved(clean: Answer, edited: Answer) -> np.ndarray:
    """How far each question's edit moves the logits in HuggingFace."""
    return np.abs(edited.logits - clean.logits).max(axis=(1, 2))


def _largest(difference: np.ndarray) -> float:
    """Infinite where anything is not a number, so that it never passes for small."""
    return float(np.nan_to_num(np.abs(difference), nan=np.inf).max(initial=0.0))
