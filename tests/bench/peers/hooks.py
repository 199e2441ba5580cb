"""transformers with forward hooks, as its documentation and PyTorch's have it: one forward for each
question, and the logits of the last position only where no others are asked for."""

import contextlib
import pathlib
from collections.abc import Iterator

import torch

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.torch_model import (
    Operands,
    Reply,
    answer_of,
    change,
    five_statistics,
    ids_of,
    load,
)
from tests.bench.questions import BOUNDARY_STATISTICS, DECODE_TOKENS, Edit, Question, Work
from tests.parity import places


class Hooks(Contestant):
    one_by_one = True

    def __init__(self, name: str, role: str, folder: pathlib.Path, attention: str = "sdpa"):
        super().__init__(name, role)
        self.model = load(folder, attention)
        self.shape = places.shape_of_config(self.model.config)
        self.operands = Operands(self.shape)

    def prepare(self, work: Work) -> None:
        self.operands.prepare(work)

    @torch.inference_mode()
    def run(self, work: Work) -> list[Reply]:
        sources = {
            source: self.model(
                ids_of(source), output_hidden_states=True, logits_to_keep=1
            ).hidden_states
            for source in {question.source for question in work.questions if question.source}
        }
        return [self.ask(question, work.wants, sources) for question in work.questions]

    def answer(self, work: Work, replies: list[Reply]) -> Answer:
        return answer_of(work, replies)

    def ask(self, question: Question, wants: str, sources: dict) -> Reply:
        numbers: dict[str, list[torch.Tensor]] = {}
        with contextlib.ExitStack() as hooks:
            if question.edit:
                operand = self.operands.of(question, sources)
                hooks.enter_context(edited(self.model, self.shape, question.edit, operand))
            hooks.enter_context(observed(self.model, wants, numbers))
            if wants == "decode":
                return Reply(self._generate(question), numbers)
            output = self.model(
                ids_of(question.tokens),
                logits_to_keep=0 if wants == "all" else 1,
                output_hidden_states=wants == "states",
                output_attentions=wants == "states",
            )
        if wants == "states":
            numbers["hidden_states"] = [state[0] for state in output.hidden_states]
            numbers["attentions"] = [weights[0] for weights in output.attentions]
        return Reply(output.logits[0], numbers)

    def _generate(self, question: Question) -> torch.Tensor:
        """Greedy, with the cache of keys and values that `generate` keeps: logits of each step."""
        return greedy(self.model, ids_of(question.tokens))[0]


def greedy(model, ids: torch.Tensor) -> torch.Tensor:
    """[prompt, step, vocabulary]"""
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        pad_token_id=0,
        do_sample=False,
        max_new_tokens=DECODE_TOKENS,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return torch.stack(output.logits, dim=1)


@contextlib.contextmanager
def edited(model, shape, edit: Edit, operand) -> Iterator[None]:
    """The model under the edit."""
    block, columns = model.transformer.h[edit.layer], edit.columns(shape)

    def before(module, args):
        change(edit, columns, args[0], operand)

    def after(module, args, output):
        value = output[0] if isinstance(output, tuple) else output
        if edit.site == "k":  # the fused projection: queries, keys, values
            value = value[..., shape.d_model : 2 * shape.d_model]
        change(edit, columns, value, operand)

    handle = {
        "resid_pre": lambda: block.register_forward_pre_hook(before),
        "k": lambda: block.attn.c_attn.register_forward_hook(after),
        "z": lambda: block.attn.c_proj.register_forward_pre_hook(before),
        "mlp_post": lambda: block.mlp.c_proj.register_forward_pre_hook(before),
        "resid_post": lambda: block.register_forward_hook(after),
    }[edit.site]()
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def observed(model, wants: str, numbers: dict[str, list[torch.Tensor]]) -> Iterator[None]:
    """Statistics of the residual stream, collected into `numbers` as the layers are computed."""

    def deviation_after(module, args, output):
        numbers.setdefault("std", []).append(output[0].std())

    def five_of(value: torch.Tensor) -> None:
        for name, number in zip(BOUNDARY_STATISTICS, five_statistics(value), strict=True):
            numbers.setdefault(name, []).append(number)

    blocks, handles = model.transformer.h, []
    if wants == "std":
        handles = [block.register_forward_hook(deviation_after) for block in blocks]
    if wants == "boundaries":
        handles = [
            block.register_forward_pre_hook(lambda module, args: five_of(args[0]))
            for block in blocks
        ]
        handles.append(
            blocks[-1].register_forward_hook(lambda module, args, output: five_of(output[0]))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
