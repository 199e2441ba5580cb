"""pyvene: an intervenable model for each place, called for each question. A patch runs its source
each time, as its interface has it."""

import functools
import pathlib

import pyvene
import torch

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.torch_model import Operands, Reply, answer_of, ids_of, load
from tests.bench.questions import Edit, Question, Work
from tests.parity import places

COMPONENTS = {
    "resid_pre": "block_input",
    "k": "head_key_output",
    "z": "head_attention_value_output",
    "mlp_post": "mlp_activation",
    "resid_post": "block_output",
}


class Intervenable(Contestant):
    one_by_one = True

    def __init__(self, folder: pathlib.Path):
        super().__init__("pyvene", "other")
        self.model = load(folder, "sdpa")
        self.shape = places.shape_of_config(self.model.config)
        self.operands = Operands(self.shape)

    def prepare(self, work: Work) -> None:
        self.operands.prepare(work)

    @torch.no_grad()
    def run(self, work: Work) -> list[Reply]:
        return [self._ask(question) for question in work.questions]

    def answer(self, work: Work, replies: list[Reply]) -> Answer:
        return answer_of(work, replies)

    def _ask(self, question: Question) -> Reply:
        edit = question.edit
        base = _inputs(question.tokens)
        if edit.operation == "patch":
            model = self._patching(edit.layer)
            _, output = model(
                base,
                [_inputs(question.source)],
                unit_locations={"sources->base": edit.position},
            )
        elif edit.head is not None:
            model = self._zeroing(edit.site, edit.layer, edit.position is not None)
            where = [[edit.head]] if edit.position is None else [[[edit.head]], [[edit.position]]]
            _, output = model(base, unit_locations={"base": [where]})
        else:
            model = self._computing(edit, len(question.tokens))
            _, output = model(base)
        return Reply(output.logits[0], {})

    @functools.cache  # noqa: B019 - one contestant lives as long as the program
    def _patching(self, layer: int):
        return self._intervenable(
            layer, "resid_pre", unit="pos", intervention_type=pyvene.VanillaIntervention
        )

    @functools.cache  # noqa: B019 - one contestant lives as long as the program
    def _zeroing(self, site: str, layer: int, at_position: bool):
        return self._intervenable(
            layer,
            site,
            unit="h.pos" if at_position else "h",
            intervention_type=pyvene.ZeroIntervention,
        )

    @functools.cache  # noqa: B019 - one contestant lives as long as the program
    def _computing(self, edit: Edit, tokens: int):
        """By a function of what the place holds."""
        operand = self.operands.of(Question((0,) * tokens, edit), {})
        columns = edit.columns(self.shape)

        def compute(base, source):
            base = base.clone()
            if edit.operation == "scale":
                return base * edit.factor
            base[..., columns] = operand
            return base

        return self._intervenable(edit.layer, edit.site, intervention=compute)

    def _intervenable(self, layer: int, site: str, **how):
        return pyvene.IntervenableModel(
            [{"layer": layer, "component": COMPONENTS[site], **how}], self.model
        )


def _inputs(tokens: tuple[int, ...]) -> dict:
    return {"input_ids": ids_of(tokens), "logits_to_keep": 1}
