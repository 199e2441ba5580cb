"""Whether the positions of two prompts match, where the values of one are put into the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scalpel.axes import Axis
from scalpel.calls import Question
from scalpel.events import Tokens
from scalpel.v1 import place_pb2, prompt_pb2


@dataclasses.dataclass(frozen=True)
class Alignment:
    """What a patch says of positions, which are looked up in the prompt that is written and again
    in the one that is read."""

    names: tuple[str, str]
    """What the two prompts are called: the one that is written, and the one that is read."""
    where: place_pb2.Selection
    """What the patches select."""
    axes: Sequence[Axis]
    """What they are swept over."""

    def questions(
        self, prompts: Sequence[prompt_pb2.Prompt], sources: Sequence[prompt_pb2.Prompt]
    ) -> tuple[Question, ...]:
        """What the server is to be asked. Nothing where it is known: token ids are checked here.
        Raises ValueError."""
        both = (*prompts, *sources)
        if any(prompt.HasField("text") for prompt in both):
            return (Question(both, self.check),)
        self.check([Tokens(tuple(prompt.token_ids.ids), ()) for prompt in both])
        return ()

    def check(self, tokens: Sequence[Tokens]) -> None:
        """`tokens`: of all prompts that are written, then of all that are read. Raises ValueError
        for the first pair that does not match."""
        pairs = len(tokens) // 2
        for pair in range(pairs):
            self._check_pair(pair if pairs > 1 else None, tokens[pair], tokens[pairs + pair])

    def _check_pair(self, pair: int | None, written: Tokens, read: Tokens) -> None:
        swept = [axis.proto for axis in self.axes if axis.proto.HasField("positions")]
        if swept:
            if swept[0].positions.values or len(written) == len(read):
                return
            what = "each position is patched from the same one of the other prompt"
            counts, remedy = (len(written), len(read)), "over=[..., positions([-1, -2])]"
        else:
            positions = self.where.positions
            counts = len(selected(positions, written)), len(selected(positions, read))
            if counts[0] == counts[1]:
                return
            what = "what the patch selects is patched position by position"
            remedy = "position=-1"
        which = "" if pair is None else f" of pair {pair}"
        said = [
            f"{name}{which} has {_positions(count, len(one))}"
            for name, count, one in zip(self.names, counts, (written, read), strict=True)
        ]
        raise ValueError(
            f"{', '.join(sorted(self.names))}: {said[0]}, {said[1]}; {what}. Give prompts whose "
            f"tokens match, or positions that both have, such as {remedy}"
        )


def _positions(count: int, length: int) -> str:
    return f"{length} tokens" if count == length else f"{count} such positions in {length} tokens"


def selected(positions: place_pb2.Positions, prompt: Tokens) -> list[int]:
    """The positions of a prompt that are selected, as they are named: negative from its end."""
    kind = positions.WhichOneof("kind")
    if kind == "indices":
        return list(positions.indices.values)
    if kind == "tokens":
        wanted = set(positions.tokens.ids)
        return [i for i, token_id in enumerate(prompt.ids) if token_id in wanted]
    asked = positions.range
    start = asked.start if asked.HasField("start") else None
    end = asked.end if asked.HasField("end") else None
    # A step below 1 is refused by the server.
    return list(range(len(prompt))[slice(start, end, max(1, asked.step))])
