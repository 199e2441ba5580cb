"""What the contestants on transformers' own model share: loading it, making an edit, and what they
return."""

import dataclasses
import functools
import pathlib

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from tests.bench.answers import Answer
from tests.bench.questions import Question, Work, noise_of, steering_vector
from tests.parity import places


def load(folder: pathlib.Path, attention: str) -> GPT2LMHeadModel:
    """Without autograd, which costs time that nobody here needs."""
    model = GPT2LMHeadModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, local_files_only=True
    )
    # Else generation stops at it, and every stream is to have the same number of tokens.
    model.generation_config.eos_token_id = None
    return model.eval().requires_grad_(False)


@dataclasses.dataclass
class Reply:
    """Of one question: logits [position, vocabulary], and what else was asked for by name."""

    logits: torch.Tensor
    numbers: dict[str, list[torch.Tensor]]


def answer_of(work: Work, replies: list[Reply]) -> Answer:
    logits = torch.stack([reply.logits for reply in replies]).numpy()
    names = replies[0].numbers.keys()
    numbers = {
        name: np.stack([torch.stack(reply.numbers[name]).numpy() for reply in replies])
        for name in names
    }
    return Answer(work.index, logits, logits.argmax(-1), numbers=numbers)


def ids_of(tokens: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor([tokens])


class Operands:
    """What edits write or add, as tensors. Noise and direction are made beforehand by `prepare`:
    drawing numbers is not what is compared."""

    def __init__(self, shape: places.ModelShape):
        self.shape = shape

    def prepare(self, work: Work) -> None:
        for question in work.questions:
            if question.edit and question.edit.operation in ("noise", "steer"):
                self.of(question, {})

    def of(self, question: Question, sources: dict[tuple, tuple]) -> torch.Tensor | None:
        """`sources`: the residual stream before each layer, by prompt."""
        edit = question.edit
        match edit.operation:
            case "noise":
                return _noise(edit, len(question.tokens), self.shape)
            case "steer":
                return edit.factor * torch.from_numpy(steering_vector(self.shape.d_model))
            case "patch":
                return sources[question.source][edit.layer][0, edit.positions]


@functools.lru_cache(maxsize=64)
def _noise(edit, tokens: int, shape: places.ModelShape) -> torch.Tensor:
    return torch.from_numpy(noise_of(edit, tokens, shape))


def change(edit, columns: slice, value: torch.Tensor, operand: torch.Tensor | None) -> None:
    """Makes the edit in place. `value`: the site, [batch, position, column]."""
    part = value[:, edit.positions, columns]
    match edit.operation:
        case "zero":
            part.zero_()
        case "scale":
            part.mul_(edit.factor)
        case "steer":
            part.add_(operand)
        case "noise" | "patch":
            part.copy_(operand)


def five_statistics(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """In the order of BOUNDARY_STATISTICS."""
    return value.mean(), value.std(), *value.aminmax(), value.norm()
