"""TransformerLens: `run_with_hooks` for each question. It always computes the logits of all
positions."""

import pathlib

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.torch_model import Operands, Reply, answer_of, change, ids_of, load
from tests.bench.questions import Question, Work
from tests.parity import places

HOOKS = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "k": "blocks.{}.attn.hook_k",
    "z": "blocks.{}.attn.hook_z",
    "mlp_post": "blocks.{}.mlp.hook_post",
    "resid_post": "blocks.{}.hook_resid_post",
}


class Lens(Contestant):
    one_by_one = True

    def __init__(self, folder: pathlib.Path):
        super().__init__("TransformerLens", "other")
        model = load(folder, "eager")
        self.shape = places.shape_of_config(model.config)
        self.model = _hooked(model, self.shape)
        self.operands = Operands(self.shape)

    def prepare(self, work: Work) -> None:
        self.operands.prepare(work)

    @torch.inference_mode()
    def run(self, work: Work) -> list[Reply]:
        sources = {
            source: self._boundaries(source)
            for source in {question.source for question in work.questions if question.source}
        }
        return [self._ask(question, work.wants, sources) for question in work.questions]

    def answer(self, work: Work, replies: list[Reply]) -> Answer:
        return answer_of(work, replies)

    def _boundaries(self, tokens: tuple[int, ...]) -> list[torch.Tensor]:
        _, cache = self.model.run_with_cache(
            ids_of(tokens), names_filter=lambda name: name.endswith("hook_resid_pre")
        )
        return [cache["resid_pre", layer] for layer in range(self.shape.n_layer)]

    def _ask(self, question: Question, wants: str, sources: dict) -> Reply:
        edit, hooks, deviations = question.edit, [], []
        if edit:
            operand, columns = self.operands.of(question, sources), edit.columns(self.shape)

            def make(value, hook):
                flat = value.flatten(2)
                change(edit, columns, flat, operand)
                return flat.view_as(value)

            hooks.append((HOOKS[edit.site].format(edit.layer), make))
        if wants == "std":
            hooks += [
                (
                    HOOKS["resid_post"].format(layer),
                    lambda value, hook: deviations.append(value.std()),
                )
                for layer in range(self.shape.n_layer)
            ]
        logits = self.model.run_with_hooks(ids_of(question.tokens), fwd_hooks=hooks)[0]
        # A copy, so that the reply does not hold on to the logits of all positions.
        last = logits if wants == "all" else logits[-1:].clone()
        return Reply(last, {"std": deviations} if wants == "std" else {})


def _hooked(model, shape: places.ModelShape) -> HookedTransformer:
    """From the same weights as they are: nothing folded, nothing centred."""
    config = HookedTransformerConfig(
        n_layers=shape.n_layer,
        n_heads=shape.n_head,
        d_model=shape.d_model,
        d_head=shape.d_head,
        d_mlp=shape.d_mlp,
        n_ctx=shape.n_ctx,
        d_vocab=shape.vocab_size,
        act_fn=model.config.activation_function,
        eps=model.config.layer_norm_epsilon,
        normalization_type="LN",
        device="cpu",
    )
    hooked = HookedTransformer(config)
    hooked.load_and_process_state_dict(
        convert_gpt2_weights(model, config),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return hooked.eval().requires_grad_(False)
