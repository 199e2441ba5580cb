"""transformers by hand, for speed: questions about one prompt are batched by layer and start there
from the clean run, and the head reads the last position only. Single questions start from a clean
run made beforehand; streams decode as one batch."""

import collections
import pathlib

import torch

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.hooks import edited, greedy
from tests.bench.peers.torch_model import Operands, Reply, answer_of, change, ids_of, load
from tests.bench.questions import Question, Work
from tests.parity import places

# The fastest found for 64 tokens, of 1 to 48.
BATCH = 12


class Tuned(Contestant):
    def __init__(self, folder: pathlib.Path):
        super().__init__("transformers, tuned by hand", "tuned")
        self.model = load(folder, "sdpa")
        self.shape = places.shape_of_config(self.model.config)
        self.operands = Operands(self.shape)
        self.clean: dict[tuple, tuple] = {}

    @torch.inference_mode()
    def prepare(self, work: Work) -> None:
        self.operands.prepare(work)
        self.clean = {}
        if work.wants == "top":
            self.clean = self._clean_runs(work)

    @torch.inference_mode()
    def run(self, work: Work) -> list[Reply]:
        if work.wants == "decode":
            return self._decode(work)
        clean = self.clean or self._clean_runs(work)
        groups = collections.defaultdict(list)
        for number, question in enumerate(work.questions):
            groups[question.tokens, question.edit.layer].append(number)
        replies: list[Reply | None] = [None] * len(work.questions)
        for numbers in groups.values():
            for start in range(0, len(numbers), BATCH):
                part = numbers[start : start + BATCH]
                found = self._resume([work.questions[n] for n in part], work.wants, clean)
                for number, reply in zip(part, found, strict=True):
                    replies[number] = reply
        return replies

    def answer(self, work: Work, replies: list[Reply]) -> Answer:
        return answer_of(work, replies)

    def _clean_runs(self, work: Work) -> dict[tuple, list[torch.Tensor]]:
        """The residual stream at every boundary, by prompt."""
        prompts = {q.tokens for q in work.questions} | {
            q.source for q in work.questions if q.source
        }
        return {tokens: self._boundaries(tokens) for tokens in prompts}

    def _boundaries(self, tokens: tuple[int, ...]) -> list[torch.Tensor]:
        transformer, positions = self.model.transformer, torch.arange(len(tokens))
        hidden = [transformer.wte(ids_of(tokens)) + transformer.wpe(positions)]
        for block in transformer.h:
            hidden.append(block(hidden[-1])[0])
        return hidden

    def _resume(self, questions: list[Question], wants: str, clean: dict) -> list[Reply]:
        """Edits at the same site and layer of one prompt, a row of the batch each."""
        tokens, edit = questions[0].tokens, questions[0].edit
        boundaries = clean[tokens]
        first = edit.layer + 1 if edit.site == "resid_post" else edit.layer
        hidden = boundaries[first].repeat(len(questions), 1, 1)
        deviations = [boundary.std().expand(len(questions)) for boundary in boundaries[1:first]]
        if edit.site in ("resid_pre", "resid_post"):
            self._change_rows(questions, hidden, clean)
            if edit.site == "resid_post":
                deviations.append(hidden.flatten(1).std(1))
        blocks = self.model.transformer.h
        for layer in range(first, self.shape.n_layer):
            if layer == edit.layer and edit.site not in ("resid_pre", "resid_post"):
                hidden = self._edited_block(questions, hidden, clean)
            else:
                hidden = blocks[layer](hidden)[0]
            if wants == "std":
                deviations.append(hidden.flatten(1).std(1))
        logits = self.model.lm_head(self.model.transformer.ln_f(hidden[:, -1:]))
        numbers = [{} for _ in questions]
        if wants == "std":
            numbers = [{"std": list(row)} for row in torch.stack(deviations, dim=1)]
        return [Reply(*each) for each in zip(logits, numbers, strict=True)]

    def _change_rows(self, questions: list[Question], value: torch.Tensor, clean: dict) -> None:
        for row, question in enumerate(questions):
            operand = self.operands.of(question, clean)
            change(question.edit, question.edit.columns(self.shape), value[row : row + 1], operand)

    def _edited_block(self, questions: list[Question], hidden, clean: dict) -> torch.Tensor:
        """The block with every row's own edit inside."""
        edit, block = questions[0].edit, self.model.transformer.h[questions[0].edit.layer]

        def before(module, args):
            self._change_rows(questions, args[0], clean)

        def after(module, args, output):
            keys = output[..., self.shape.d_model : 2 * self.shape.d_model]
            self._change_rows(questions, keys, clean)

        handle = {
            "k": lambda: block.attn.c_attn.register_forward_hook(after),
            "z": lambda: block.attn.c_proj.register_forward_pre_hook(before),
            "mlp_post": lambda: block.mlp.c_proj.register_forward_pre_hook(before),
        }[edit.site]()
        try:
            return block(hidden)[0]
        finally:
            handle.remove()

    def _decode(self, work: Work) -> list[Reply]:
        """All streams have prompts of one length and one edit."""
        question = work.questions[0]
        operand = self.operands.of(question, {})
        with edited(self.model, self.shape, question.edit, operand):
            logits = greedy(self.model, torch.tensor([q.tokens for q in work.questions]))
        return [Reply(row, {}) for row in logits]
