"""nnsight: a trace for each question."""

import pathlib

import torch
from nnsight import NNsight

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.torch_model import Operands, Reply, answer_of, change, ids_of, load
from tests.bench.questions import Question, Work
from tests.parity import places


class Traces(Contestant):
    one_by_one = True

    def __init__(self, folder: pathlib.Path):
        super().__init__("nnsight", "other")
        model = load(folder, "sdpa")
        self.shape = places.shape_of_config(model.config)
        self.model = NNsight(model)
        self.operands = Operands(self.shape)

    def prepare(self, work: Work) -> None:
        self.operands.prepare(work)

    @torch.no_grad()
    def run(self, work: Work) -> list[Reply]:
        sources = {
            source: self._boundaries(source)
            for source in {question.source for question in work.questions if question.source}
        }
        return [self._ask(question, work.wants, sources) for question in work.questions]

    def answer(self, work: Work, replies: list[Reply]) -> Answer:
        return answer_of(work, replies)

    def _boundaries(self, tokens: tuple[int, ...]) -> list[torch.Tensor]:
        blocks = self.model.transformer.h
        with self.model.trace(ids_of(tokens), logits_to_keep=1):
            entered = list().save()
            for layer in range(self.shape.n_layer):
                entered.append(blocks[layer].input.clone())
        return entered

    def _ask(self, question: Question, wants: str, sources: dict) -> Reply:
        edit, model, layers = question.edit, self.model, range(self.shape.n_layer)
        operand = self.operands.of(question, sources)
        columns = edit.columns(self.shape)
        block = model.transformer.h[edit.layer]
        keys = slice(self.shape.d_model, 2 * self.shape.d_model)
        with model.trace(ids_of(question.tokens), logits_to_keep=1):
            deviations = list().save()
            for layer in layers:
                if layer == edit.layer:
                    if edit.site == "resid_pre":
                        change(edit, columns, block.input, operand)
                    elif edit.site == "k":
                        change(edit, columns, block.attn.c_attn.output[..., keys], operand)
                    elif edit.site == "z":
                        change(edit, columns, block.attn.c_proj.input, operand)
                    elif edit.site == "mlp_post":
                        change(edit, columns, block.mlp.c_proj.input, operand)
                    elif edit.site == "resid_post":
                        change(edit, columns, block.output[0], operand)
                if wants == "std":
                    deviations.append(model.transformer.h[layer].output[0].std())
            logits = model.lm_head.output[0].save()
        return Reply(logits, {"std": deviations} if wants == "std" else {})
