"""The workloads: which questions a round asks, of what size, and what the goal is."""

import dataclasses
import itertools
import random
from collections.abc import Callable

from tests.bench.questions import Edit, Question
from tests.parity.places import ModelShape

# Of plain passes, by length; the raw engine's goal is the same for all.
PLAIN_GOALS = {
    16: {"idiom": 4, "idiom seen": 15},
    64: {"idiom": 2.2},
    128: {"idiom": 1.8},
    512: {"idiom": 1.5},
}
PLAIN_RAW_GOAL = 1.3
SCALES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.25, 1.5, 2.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the suite. `ask` makes a round's questions, with prompts that nobody has seen.
    `goal`: how many times as fast as each role Scalpel is meant to be, on a new prompt, and under
    the role's name with " seen" on one that it has seen."""

    workload: str
    title: str
    wants: str
    ask: Callable[[random.Random], list[Question]]
    clients: int = 1
    goal: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.workload} {self.title}"

    @property
    def edits(self) -> bool:
        return any(question.edit for question in self.ask(random.Random(0)))


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything. The quick one is for tests, which time nothing."""

    lengths: tuple[int, ...] = (16, 64, 128, 512)
    edit_lengths: tuple[int, ...] = (16, 64)
    sweep_length: int = 64
    sweep_layer_step: int = 1
    long_length: int = 512
    repeats: int = 8
    clients: int = 64
    calls_of_client: int = 4
    client_lengths: tuple[int, int] = (16, 128)
    streams: int = 16


FULL = Size()
QUICK = Size(
    lengths=(8, 33),
    edit_lengths=(9,),
    sweep_length=17,
    sweep_layer_step=4,
    long_length=48,
    repeats=2,
    clients=6,
    calls_of_client=2,
    client_lengths=(4, 24),
    streams=3,
)


def _layers(shape: ModelShape, size: Size) -> list[int]:
    """Of a sweep, the last among them: that is the special one."""
    return list(range(shape.n_layer - 1, -1, -size.sweep_layer_step))[::-1]


def cases(shape: ModelShape, size: Size) -> list[Case]:
    makers = (_plain, _single, _heads, _patches, _doses, _clients, _decode, _streaming, _states)
    return [case for maker in makers for case in maker(shape, size)]


def _prompt(rng: random.Random, shape: ModelShape, length: int) -> tuple[int, ...]:
    return tuple(rng.randrange(shape.vocab_size) for _ in range(length))


def _repeated(shape: ModelShape, length: int, repeats: int, edit: Edit | None):
    """The edit on so many prompts, one after the other."""
    return lambda rng: [Question(_prompt(rng, shape, length), edit) for _ in range(repeats)]


def _swept(shape: ModelShape, length: int, edits: list[Edit], differ_at: int | None = None):
    """The edits on one prompt. With a patch among them, its source differs everywhere, or at one
    token only."""

    def ask(rng: random.Random) -> list[Question]:
        tokens = _prompt(rng, shape, length)
        source = tuple(
            (token + rng.randrange(1, shape.vocab_size)) % shape.vocab_size
            if differ_at is None or position == differ_at
            else token
            for position, token in enumerate(tokens)
        )
        return [
            Question(tokens, edit, source if edit.operation == "patch" else None) for edit in edits
        ]

    return ask


def _plain(shape: ModelShape, size: Size) -> list[Case]:
    return [
        Case(
            "W0",
            f"plain forward, T {length}, {which}",
            wants,
            ask,
            goal={**PLAIN_GOALS.get(length, {}), "raw": PLAIN_RAW_GOAL},
        )
        for length in size.lengths
        for wants, which in (("last", "last logits"), ("all", "all logits"))
        for ask in [_repeated(shape, length, size.repeats if length < 100 else 2, None)]
    ]


def _single(shape: ModelShape, size: Size) -> list[Case]:
    edits = {
        "K of head 2 zeroed at layer 5": Edit("zero", "k", 5, head=2),
        "even neurons of layer 6 noise(10, 1)": Edit("noise", "mlp_post", 6),
        "block 9 scaled by 0.1": Edit("scale", "resid_post", 9, factor=0.1),
    }
    return [
        Case(
            "W1",
            f"{title}, T {length}",
            "top",
            _repeated(shape, length, size.repeats, edit),
            goal={"tuned": 1.5, "tuned seen": 3},
        )
        for title, edit in edits.items()
        for length in size.edit_lengths
    ]


def _heads(shape: ModelShape, size: Size) -> list[Case]:
    def zeroed(position: int | None) -> list[Edit]:
        return [
            Edit("zero", "z", layer, head, position)
            for layer, head in itertools.product(_layers(shape, size), range(shape.n_head))
        ]

    length = size.sweep_length
    count = len(zeroed(None))
    return [
        Case(
            "W2",
            f"{count} heads, Z zeroed at {where}, T {length}",
            "sweep",
            _swept(shape, length, zeroed(position)),
            goal=goal,
        )
        for where, position, goal in (
            ("all positions", None, {"idiom": 6.5, "tuned": 1.9}),
            (f"position {length - 2}", length - 2, {"idiom": 80, "tuned": 25}),
        )
    ]


def _patches(shape: ModelShape, size: Size) -> list[Case]:
    def patched(length: int) -> list[Edit]:
        return [
            Edit("patch", "resid_pre", layer, position=position)
            for layer, position in itertools.product(_layers(shape, size), range(length))
        ]

    layers = len(_layers(shape, size))
    # Length, where the prompts differ, title, goal. Pairs as in indirect object identification have
    # 15 tokens of which one differs, so two thirds of their patches write what is there already.
    kinds = (
        (size.sweep_length, None, "no shared prefix", {"idiom": 12, "tuned": 3.5}),
        (15, 10, "one token differs", {"idiom": 80, "tuned": 16}),
        (15, None, "all tokens differ", {}),
    )
    return [
        Case(
            "W3",
            f"patch of the residual at {layers} x {length}, {title}",
            "sweep",
            _swept(shape, length, patched(length), differ_at),
            goal=goal,
        )
        for length, differ_at, title, goal in kinds
    ]


def _doses(shape: ModelShape, size: Size) -> list[Case]:
    edits = [
        Edit("scale", "resid_post", layer, factor=factor)
        for layer, factor in itertools.product(_layers(shape, size), SCALES)
    ]
    title = f"{len(_layers(shape, size))} layers x {len(SCALES)} scales, std of every layer"
    length = size.sweep_length
    return [
        Case(
            "W4",
            f"{title}, T {length}",
            "std",
            _swept(shape, length, edits),
            goal={"idiom": 6, "tuned": 4},
        )
    ]


def _clients(shape: ModelShape, size: Size) -> list[Case]:
    specs = [
        spec
        for layer, head in itertools.product(range(shape.n_layer), range(shape.n_head))
        for spec in (
            Edit("zero", "k", layer, head=head),
            Edit("zero", "z", layer, head=head),
            Edit("scale", "resid_post", layer, factor=0.05 + head / 10),
        )
    ]
    low, high = size.client_lengths

    def ask(rng: random.Random) -> list[Question]:
        """Every other one under the client's own edit, and of the same length under one for all."""
        chosen = rng.sample(specs, size.clients)
        questions = []
        for call in range(size.clients * size.calls_of_client):
            length = low + 37 * call % (high - low + 1)
            for edit in (chosen[call % size.clients], chosen[0]):
                questions.append(Question(_prompt(rng, shape, length), edit))
        return questions

    return [
        Case(
            "W5",
            f"{size.clients} clients with a spec each, T {low} to {high}",
            "top",
            ask,
            clients=size.clients,
            goal={"server": 4},
        ),
    ]


def _decode(shape: ModelShape, size: Size) -> list[Case]:
    """Greedy tokens under steering, of many streams at once and of one alone."""
    steer = Edit("steer", "resid_post", shape.n_layer // 2, factor=2.0)
    length = size.client_lengths[0]
    return [
        Case(
            "W5b",
            f"{size.streams} streams of steered greedy decode",
            "decode",
            _repeated(shape, length, size.streams, steer),
            clients=size.streams,
            goal={"idiom": 12, "tuned": 2},
        ),
        Case(
            "W5b",
            "one stream of steered greedy decode",
            "decode",
            _repeated(shape, length, 1, steer),
            goal={"tuned": 1.5},
        ),
    ]


def _streaming(shape: ModelShape, size: Size) -> list[Case]:
    length = size.long_length
    title = f"five statistics at {shape.n_layer + 1} boundaries, T {length}"
    ask = _repeated(shape, length, 4, None)
    return [Case("W6", title, "boundaries", ask, goal={"idiom": 1.5})]


def _states(shape: ModelShape, size: Size) -> list[Case]:
    length = size.long_length
    title = f"hidden states and attentions over gRPC, T {length}"
    ask = _repeated(shape, length, 1, None)
    return [Case("W7", title, "states", ask, goal={"idiom": 1.5, "server": 2})]
