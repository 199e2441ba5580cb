"""The ten tasks of client/docs/migration: that each does something, and that all libraries agree.

Only Scalpel is asked where the others are not installed. With `-m live`, all are.
"""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from tests.support import environment

_FOLDER = environment.ROOT / "client" / "docs" / "migration"
_PROMPT = "When Mary and John went to the store, John gave a drink to"
_SOURCE = "When Mary and John went to the store, Mary gave a drink to"
_VECTOR = np.random.default_rng(0).standard_normal(96).astype(np.float32)
# Task: its arguments after the prompt, and the shape of its answer for 14 tokens.
TASKS = {
    "read_logits": ((), (2048,)),
    "residual_streams": ((), (12, 14, 96)),
    "zero_head": ((0, 8), (2048,)),
    "zero_keys": ((5, 2), (2048,)),
    "mean_ablate_mlp": ((0,), (2048,)),
    "steer": ((_VECTOR, 6, 2.0), (2048,)),
    "patch_residual": ((_SOURCE, 4, 9), (2048,)),
    "scale_block": ((0.1, 9), (2048,)),
    "attention_pattern": ((5,), (12, 14, 14)),
    "head_sweep": ((" Mary", " John"), (12, 12)),
}
LIBRARIES = ("transformer_lens", "nnsight", "pyvene")
TOLERANCE = 1e-3


def _module(name: str):
    sys.path.insert(0, str(_FOLDER))
    try:
        return importlib.import_module(f"in_{name}")
    finally:
        sys.path.remove(str(_FOLDER))


class Library:
    """A library with the model loaded, and its answers, each computed once."""

    def __init__(self, name: str, model: str | pathlib.Path):
        self._module, self._answers = _module(name), {}
        self._model = self._module.load(str(model))

    def answer(self, task: str) -> np.ndarray:
        if task not in self._answers:
            arguments, _ = TASKS[task]
            made = getattr(self._module, task)(self._model, _PROMPT, *arguments)
            self._answers[task] = np.asarray(made)
        return self._answers[task]


@pytest.fixture(scope="module")
def ours(server) -> Library:
    return Library("scalpel", server.address)


@pytest.fixture(scope="module", params=LIBRARIES)
def theirs(request, model_dir) -> Library:
    import torch

    with torch.no_grad():
        yield Library(request.param, model_dir)


@pytest.mark.parametrize("task", TASKS)
def test_task(ours, task):
    """Its shape; and the edits, which all return logits, are not without effect."""
    answer, (_, shape) = ours.answer(task), TASKS[task]
    assert answer.shape == shape
    if task not in ("read_logits", "residual_streams", "attention_pattern", "head_sweep"):
        assert abs(answer - ours.answer("read_logits")).max() > 10 * TOLERANCE


@pytest.mark.live
@pytest.mark.parametrize("task", TASKS)
def test_libraries_agree(ours, theirs, task, record_difference):
    answer, other = ours.answer(task), theirs.answer(task)
    assert other.shape == answer.shape
    difference = float(abs(answer - other).max())
    record_difference(task, difference, float(abs(answer).max()))
    assert difference <= TOLERANCE
