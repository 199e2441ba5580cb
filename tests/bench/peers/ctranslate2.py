"""CTranslate2, as raw speed: the plain forward pass at float32, from the same weights."""

import functools
import pathlib

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters.transformers import GPT2Loader

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.torch_model import load
from tests.bench.questions import Question, Work


class Raw(Contestant):
    """The logits of the last position can be had in two ways, a forward of all positions or one
    step of generation. Which is faster depends on the length: each has its line."""

    one_by_one = True

    def __init__(self, folder: pathlib.Path, scratch: pathlib.Path, by_generation: bool):
        super().__init__("CTranslate2" + (", by generation" if by_generation else ""), "raw")
        self.by_generation = by_generation
        self.generator = _generator(_converted(folder, scratch))

    def run(self, work: Work) -> list[np.ndarray]:
        return [self._ask(question, work.wants) for question in work.questions]

    def answer(self, work: Work, replies: list[np.ndarray]) -> Answer:
        logits = np.stack(replies)
        return Answer(work.index, logits, logits.argmax(-1))

    def _ask(self, question: Question, wants: str) -> np.ndarray:
        if self.by_generation:
            [found] = self.generator.generate_batch(
                [[str(token) for token in question.tokens]],
                max_length=1,
                sampling_topk=1,
                include_prompt_in_result=False,
                return_logits_vocab=True,
            )
            return np.array(found.logits[0][0])[None]
        logits = np.array(self.generator.forward_batch([list(question.tokens)]))[0]
        return logits if wants == "all" else logits[-1:].copy()


@functools.lru_cache(maxsize=1)
def _generator(converted: pathlib.Path) -> ctranslate2.Generator:
    return ctranslate2.Generator(
        str(converted),
        device="cpu",
        compute_type="float32",
        inter_threads=1,
        intra_threads=torch.get_num_threads(),
    )


def _converted(folder: pathlib.Path, scratch: pathlib.Path) -> pathlib.Path:
    """Its converter without a tokenizer, which a model of random weights has not: tokens are called
    by their ids."""
    made = scratch / f"{folder.name}-ctranslate2"
    if not (made / "model.bin").exists():
        model = load(folder, "eager")
        spec = GPT2Loader().get_model_spec(model)
        spec.register_vocabulary([str(token) for token in range(model.config.vocab_size)])
        spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "0"
        spec.validate()
        spec.optimize(quantization="float32")
        made.mkdir(parents=True, exist_ok=True)
        spec.save(str(made))
    return made
