"""Generations against HuggingFace, live: each way to reuse keys and values is the naive loop that
the contract says, written here with hooks on the modules and the model's own cache."""

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import DynamicCache

from scalpel.v1 import generate_pb2
from tests.parity.harness import Parity
from tests.support import environment
from tests.support.client import make_request

pytestmark = pytest.mark.live

STEPS = 12
PROMPTS = ([17, 230, 5, 1999, 640, 88, 5, 1203], [3, 700, 44])
LAYER, HEAD, D_HEAD = 5, 2, 8
VECTOR = np.random.default_rng(0).normal(0, 2, 96).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Edit:
    """An edit of a module's output (or first input), at some positions of what it computes."""

    module: str
    place: dict  # the same for the server
    operation: dict
    change: Callable[[torch.Tensor], torch.Tensor]  # of [positions, width]
    at_input: bool = False
    positions: tuple[int, ...] | None = None  # None: all; negative: from the end of the sequence
    steps: range = range(1000)

    def request(self) -> dict:
        where = {**self.place.get("where", {}), "layers": [LAYER]}
        if self.positions is not None:
            where["positions"] = {"indices": {"values": list(self.positions)}}
        if self.steps != range(1000):
            where["steps"] = {"start": self.steps.start, "end": self.steps.stop}
        return {"place": {**self.place, "where": where}, **self.operation}

    def rows(self, first: int, length: int) -> list[int]:
        """The rows of what is computed, which are positions first to length, that it changes."""
        if self.positions is None:
            return list(range(length - first))
        meant = [each + length if each < 0 else each for each in self.positions]
        return [each - first for each in meant if first <= each < length]


def _zero_head(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[:, HEAD * D_HEAD : (HEAD + 1) * D_HEAD] = 0
    return x


BLOCK = f"transformer.h.{LAYER}"
STEER = Edit(
    BLOCK,
    {"site": "SITE_RESID_POST"},
    {"add": {"tensor": {"shape": [96], "values": VECTOR.tolist()}}},
    lambda x: x + torch.from_numpy(VECTOR),
)
ZERO_HEAD = Edit(
    f"{BLOCK}.attn.c_proj",
    {"site": "SITE_Z", "where": {"heads": [HEAD]}},
    {"zero": {}},
    _zero_head,
    at_input=True,
)
SCALE_MLP = Edit(
    f"{BLOCK}.mlp", {"site": "SITE_MLP_OUT"}, {"scale": {"factor": -2}}, lambda x: -2 * x
)
CASES = {
    "steer everywhere": [STEER],
    "steer the newest": [dataclasses.replace(STEER, positions=(-1,))],
    "steer what is generated": [dataclasses.replace(STEER, steps=range(1, 1000))],
    "some steps": [dataclasses.replace(STEER, positions=(-1,), steps=range(2, 6))],
    "a position to come": [dataclasses.replace(SCALE_MLP, positions=(1, 9))],
    "three together": [
        ZERO_HEAD,
        dataclasses.replace(SCALE_MLP, steps=range(1, 1000)),
        dataclasses.replace(STEER, positions=(-1,)),
    ],
}


@pytest.fixture(scope="module")
def demo():
    with Parity("demo", environment.model_dir()) as parity:
        yield parity


@contextlib.contextmanager
def hooked(model, edits: list[Edit], step: int, first: int, length: int):
    """The edits that select the step, on a pass that computes positions first to length."""
    handles = []
    for edit in edits:
        if step not in edit.steps:
            continue
        rows = edit.rows(first, length)

        def change(x, edit=edit, rows=rows):
            x = x.clone()
            if rows:
                x[0, rows] = edit.change(x[0, rows])
            return x

        module = model.get_submodule(edit.module)
        if edit.at_input:
            handles.append(
                module.register_forward_pre_hook(lambda _, args, c=change: (c(args[0]), *args[1:]))
            )
        else:
            handles.append(
                module.register_forward_hook(
                    lambda _, __, out, c=change: (
                        (c(out[0]), *out[1:]) if isinstance(out, tuple) else c(out)
                    )
                )
            )
    yield
    for handle in handles:
        handle.remove()


@torch.no_grad()
def naive(model, prompt: list[int], edits: list[Edit], reuse: str) -> tuple[list[int], np.ndarray]:
    """The greedy tokens and the logits of each step, by the loop that the contract says."""
    tokens, logits, past = list(prompt), [], DynamicCache()
    for step in range(STEPS):
        if reuse == "RECOMPUTE_ALL":
            past = DynamicCache()
        first = past.get_seq_length()
        acting = [] if reuse == "CLEAN_PROMPT" and step == 0 else edits
        with hooked(model, acting, step, first, len(tokens)):
            out = model(torch.tensor([tokens[first:]]), past_key_values=past, use_cache=True)
        logits.append(out.logits[0, -1].numpy())
        tokens.append(int(logits[-1].argmax()))
    return tokens[len(prompt) :], np.stack(logits)


def generate(parity: Parity, request: dict) -> list[generate_pb2.GenerateResponse]:
    message = make_request(request, generate_pb2.GenerateRequest)
    return list(parity.client.stub.Generate(message, timeout=120))


def streams_of(events) -> tuple[dict[int, list[int]], dict[int, np.ndarray]]:
    """The tokens and the logits of each stream."""
    ids: dict[int, list[int]] = {}
    logits: dict[int, list[np.ndarray]] = {}
    for event in events:
        if event.HasField("token"):
            ids.setdefault(event.token.stream, []).append(event.token.id)
        elif event.HasField("step") and event.step.HasField("tensor_chunk"):
            row = np.frombuffer(event.step.tensor_chunk.data, "<f4")
            logits.setdefault(event.step.stream, []).append(row)
    return ids, {stream: np.stack(rows) for stream, rows in logits.items()}


@pytest.mark.parametrize("reuse", ["INTERVENED", "CLEAN_PROMPT", "RECOMPUTE_ALL"])
@pytest.mark.parametrize("case", CASES)
def test_each_reuse_is_its_naive_loop(demo, case, reuse):
    edits = CASES[case]
    if reuse == "CLEAN_PROMPT":
        edits = [
            dataclasses.replace(edit, steps=range(max(1, edit.steps.start), edit.steps.stop))
            for edit in edits
        ]
        if case == "a position to come":
            edits = [dataclasses.replace(edit, positions=(9,)) for edit in edits]
    events = generate(
        demo,
        {
            "prompts": [{"token_ids": {"ids": prompt}} for prompt in PROMPTS],
            "interventions": [edit.request() for edit in edits],
            "reuse_kv": f"KV_REUSE_{reuse}",
            "stop": {"max_new_tokens": STEPS, "ignore_eos": True},
            "logits": {"full": {}},
        },
    )
    ids, logits = streams_of(events)
    for stream, prompt in enumerate(PROMPTS):
        expected_ids, expected = naive(demo.model, prompt, edits, reuse)
        _, unedited = naive(demo.model, prompt, [], reuse)
        assert np.abs(expected - unedited).max() > 0.01 * np.abs(expected).max(), "nothing is moved"
        assert ids[stream] == expected_ids
        assert np.abs(logits[stream] - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_ways_differ(demo):
    """The cases can tell the loops apart."""
    edits = CASES["steer the newest"]
    prompt = PROMPTS[0]
    kept, anew = (
        naive(demo.model, prompt, edits, way)[1] for way in ("INTERVENED", "RECOMPUTE_ALL")
    )
    assert np.abs(kept - anew).max() > 0.1


def test_unsteered_greedy_text_is_that_of_generate(demo):
    events = generate(
        demo,
        {
            "prompts": [{"token_ids": {"ids": prompt}} for prompt in PROMPTS],
            "stop": {"max_new_tokens": STEPS, "ignore_eos": True},
            "sampling": {"repetition_penalty": 1.3},
        },
    )
    ids, _ = streams_of(events)
    for stream, prompt in enumerate(PROMPTS):
        out = demo.model.generate(
            torch.tensor([prompt]),
            max_new_tokens=STEPS,
            min_new_tokens=STEPS,
            do_sample=False,
            repetition_penalty=1.3,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert ids[stream] == out[0, len(prompt) :].tolist()


def test_steered_greedy_text_is_that_of_generate_with_the_hook(demo):
    prompt = PROMPTS[0]

    def steer(_, __, out):
        hidden = out[0] if isinstance(out, tuple) else out
        hidden = hidden + torch.from_numpy(VECTOR)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = demo.model.get_submodule(BLOCK).register_forward_hook(steer)
    try:
        out = demo.model.generate(
            torch.tensor([prompt]),
            max_new_tokens=STEPS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    finally:
        handle.remove()
    events = generate(
        demo,
        {
            "prompts": [{"token_ids": {"ids": prompt}}],
            "interventions": [STEER.request()],
            "reuse_kv": "KV_REUSE_INTERVENED",
            "stop": {"max_new_tokens": STEPS, "ignore_eos": True},
        },
    )
    assert streams_of(events)[0][0] == out[0, len(prompt) :].tolist()
