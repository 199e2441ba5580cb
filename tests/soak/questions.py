"""Questions with one answer each: random runs and sweeps, whose bytes must be the same whoever else
is asking."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scalpel.v1 import generate_pb2, model_pb2, run_pb2, sweep_pb2
from tests.parity import random_specs
from tests.parity.places import ModelShape, shape_of_model
from tests.support.client import Client, make_request

# Prompts begin alike, so that a clean run that is cached for one is of use to another.
_SHARED = (4, 9, 14)
_PROMPT_TOKENS = 14
_METRICS = [
    {"logits": {"ids": [3, 40, 77]}},
    {"kl_from_clean": {}},
    {"loss": {}},
    {"logit_diff": {"targets": [3, 5], "distractors": [7]}},
]
# Multiplied twice, every number but 0 overflows.
_OVERFLOW = 3e38


@dataclasses.dataclass(frozen=True)
class Question:
    """A request, and what its answer must be compared by."""

    name: str
    request: Any  # a RunRequest, a SweepRequest or a GenerateRequest

    @property
    def tasks(self) -> int:
        """How many passes of the model it would take alone, at least."""
        if isinstance(self.request, sweep_pb2.SweepRequest):
            return 1 + len(self.request.variants.variants)
        return 1

    def call(self, client: Client, timeout: float | None = None) -> Any:
        """The call, which is iterated over for its messages."""
        if isinstance(self.request, generate_pb2.GenerateRequest):
            method = client.stub.Generate
        elif isinstance(self.request, sweep_pb2.SweepRequest):
            method = client.stub.Sweep
        else:
            method = client.stub.Run
        return method(self.request, timeout=timeout or client.timeout_seconds)

    def ask(self, client: Client, timeout: float | None = None) -> list[bytes]:
        return content(self.call(client, timeout))


def content(messages: Iterable[Any]) -> list[bytes]:
    """What must be equal when the same question is answered twice: all but the request's id, times,
    and how much was known before. Variants, and streams, come in any order."""
    events, variants, streams = [], [], []
    for message in messages:
        kind = message.WhichOneof("event")
        event = getattr(message, kind)
        if kind == "variant":
            variants.append(event)
        elif kind in ("step", "token", "stream_finished"):
            streams.append(event)
        elif isinstance(message, generate_pb2.GenerateResponse) and kind == "finished":
            continue
        elif kind == "finished":
            events.append(event.first_non_finite)
        elif kind not in ("started", "progress"):
            events.append(event)
    events += sorted(variants, key=lambda variant: variant.index)
    events += sorted(streams, key=lambda event: event.stream)
    return [event.SerializeToString(deterministic=True) for event in events]


def make_questions(model: model_pb2.GetModelResponse, runs: int, sweeps: int) -> list[Question]:
    """The same for the same model, each unlike all others; some overflow to infinities and NaN."""
    shape = shape_of_model(model)
    made = [Question(f"run {seed}", _run(shape, seed)) for seed in range(runs)]
    made += [Question(f"sweep {seed}", _sweep(shape, 1000 + seed)) for seed in range(sweeps)]
    made += [Question(f"overflow {seed}", _overflow(shape, 2000 + seed)) for seed in range(2)]
    made += [Question(f"generation {seed}", _generation(shape, 4000 + seed)) for seed in range(4)]
    return made + [Question(f"captures {seed}", _captures(shape, 3000 + seed)) for seed in range(2)]


def _specs(shape: ModelShape, seed: int, prompts: int | None = None) -> random_specs.Specs:
    """A generator whose prompts begin as those of other seeds do."""
    specs = random_specs.Specs(shape, seed, prompts=prompts, length_max=_PROMPT_TOKENS)
    common = np.random.default_rng(0).integers(0, shape.vocab_size, size=_PROMPT_TOKENS).tolist()
    for tokens, prompt in zip(specs.tokens, specs.request.prompts, strict=True):
        shared = specs.choose(_SHARED)
        tokens[:shared] = common[: min(shared, len(tokens))]
        prompt.token_ids.ids[:] = tokens
    return specs


def _run(shape: ModelShape, seed: int) -> run_pb2.RunRequest:
    return _specs(shape, seed).composition()


def _sweep(shape: ModelShape, seed: int) -> sweep_pb2.SweepRequest:
    specs = _specs(shape, seed, prompts=2)
    for _ in range(4):
        specs.add_intervention()
    specs.add_probe()
    asked = specs.request
    sweep = sweep_pb2.SweepRequest(
        prompts=asked.prompts, probes=asked.probes, seed=asked.seed, reports=True
    )
    for interventions in (*([each] for each in asked.interventions), asked.interventions):
        sweep.variants.variants.add().interventions.extend(interventions)
    sweep.metrics.extend(make_request(metric, sweep_pb2.Metric) for metric in _METRICS)
    return sweep


def _overflow(shape: ModelShape, seed: int) -> run_pb2.RunRequest:
    specs = _specs(shape, seed, prompts=1)
    layer = specs.choose(range(shape.n_layer))
    place = {"site": "SITE_RESID_POST", "where": {"layers": [layer]}}
    edits = [{"place": place, "scale": {"factor": _OVERFLOW}}] * 2
    captures = [{"place": {"site": "SITE_RESID_POST"}}]
    asked = make_request({"interventions": edits, "captures": captures, "logits": {"full": {}}})
    asked.prompts.extend(specs.request.prompts)
    return asked


def _generation(shape: ModelShape, seed: int) -> generate_pb2.GenerateRequest:
    """Steered from the first new token on, drawn, and with each step's last residual stream."""
    specs = _specs(shape, seed, prompts=2)
    where = {"layers": [specs.choose(range(shape.n_layer))], "steps": {"start": 1}}
    place = {"site": "SITE_RESID_POST", "where": where}
    asked = {
        "interventions": [{"place": place, "scale": {"factor": 1.5}}],
        "captures": [{"place": {"site": "SITE_LN_F_OUT"}}],
        "sampling": {"sample": True, "top_p": 0.9},
        "stop": {"max_new_tokens": 12, "ignore_eos": True},
        "reuse_kv": "KV_REUSE_INTERVENED",
        "continuations": 2,
        "seed": seed,
    }
    request = make_request(asked, generate_pb2.GenerateRequest)
    request.prompts.extend(specs.request.prompts)
    return request


def _captures(shape: ModelShape, seed: int) -> run_pb2.RunRequest:
    """Megabytes of tensors, more than a connection takes at once."""
    specs = random_specs.Specs(shape, seed, prompts=2, length_max=4)
    specs.add_intervention()
    asked = specs.request
    for prompt in asked.prompts:
        length = int(specs.rng.integers(40, 64))
        more = specs.rng.integers(0, shape.vocab_size, size=length).tolist()
        prompt.token_ids.ids.extend(more)
    captures = [{"place": {"site": site}} for site in ("SITE_PATTERN", "SITE_MLP_POST")]
    asked.captures.extend(make_request({"captures": captures}).captures)
    return asked


def distinct(answers: Sequence[list[bytes]]) -> bool:
    """Whether no two are the same: else a mix-up could go unseen."""
    return len({tuple(answer) for answer in answers}) == len(answers)
