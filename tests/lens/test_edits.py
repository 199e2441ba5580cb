"""Each typed edit, beside the hook function that it stands for."""

from typing import Any

import numpy as np
import pytest

from tests.lens import theirs

pytestmark = pytest.mark.live

_TEXTS = [theirs.notebook().CLEAN, theirs.notebook().CORRUPTED]
_VECTOR = np.random.default_rng(0).standard_normal(96).astype(np.float32)


def _hook(change: Any) -> Any:
    """A hook function of a change in place."""

    def hook(tensor: Any, hook: Any) -> Any:
        changed = change(tensor)
        return tensor if changed is None else changed

    return hook


def _assign(index: Any, value: Any) -> Any:
    def change(tensor: Any) -> None:
        tensor[index] = value(tensor) if callable(value) else value

    return _hook(change)


def _pairs(ours: Any, cache: Any) -> dict[str, tuple[str, Any, Any]]:
    """Name: the hook point, the edit, and the function. `cache` is theirs, of the texts."""
    import torch

    from scalpel import lens

    vector = torch.from_numpy(_VECTOR)
    direction = vector / vector.norm()
    swapped = cache["resid_pre", 4].flip(0)
    return {
        "zero": ("blocks.0.attn.hook_z", lens.zero(head=8), _assign(np.s_[:, :, 8], 0)),
        "zero keys": ("blocks.5.attn.hook_k", lens.zero(head=2), _assign(np.s_[:, :, 2], 0)),
        "zero a prompt": (
            "blocks.5.hook_mlp_out", lens.zero(prompt=1, position=-1), _assign(np.s_[1, -1], 0)
        ),
        "scale": ("blocks.9.hook_resid_post", lens.scale(0.1), _hook(lambda x: 0.1 * x)),
        "add": (
            "blocks.6.hook_resid_pre", lens.add(vector, coefficient=2),
            _hook(lambda x: x + 2 * vector),
        ),
        "set": (
            "blocks.3.hook_attn_out", lens.set_(vector, position=4), _assign(np.s_[:, 4], vector)
        ),
        "set by prompt": (
            "blocks.4.hook_resid_pre", lens.set_(swapped[:, 9:12], position=range(9, 12)),
            _assign(np.s_[:, 9:12], swapped[:, 9:12]),
        ),
        "set a head": (
            "blocks.2.attn.hook_z", lens.set_(cache["z", 2][1, :, 3], head=5, prompt=0),
            _assign(np.s_[0, :, 5], cache["z", 2][1, :, 3]),
        ),
        "clamp": (
            "blocks.1.mlp.hook_post", lens.clamp(-0.05, 0.05), _hook(lambda x: x.clamp(-0.05, 0.05))
        ),
        "mean": (
            "blocks.0.hook_mlp_out", lens.mean(),
            _hook(lambda x: x.mean(dim=1, keepdim=True).expand_as(x)),
        ),
        "mean over some": (
            "blocks.0.attn.hook_z", lens.mean(over=[1, 2, 3], head=4, position=-1),
            _assign(np.s_[:, -1, 4], lambda x: x[:, 1:4, 4].mean(dim=1)),
        ),
        "project out": (
            "blocks.8.hook_resid_pre", lens.project_out(vector),
            _hook(lambda x: x - (x @ direction)[..., None] * direction),
        ),
        "knockout": (
            "blocks.3.attn.hook_attn_scores", lens.knockout([(14, 4)]),
            _assign(np.s_[:, :, 14, 4], -torch.inf),
        ),
        "pattern": (
            "blocks.3.attn.hook_pattern", lens.set_(1.0, head=2, query=14, key=1),
            _assign(np.s_[:, 2, 14, 1], 1.0),
        ),
        "patch": (
            "blocks.4.hook_resid_pre", lens.patch(ours.to_tokens(_TEXTS[::-1]), position=10),
            _assign(np.s_[:, 10], swapped[:, 10]),
        ),
        "patch from a text": (
            "blocks.4.attn.hook_q", lens.patch(_TEXTS[1], head=3, from_head=5),
            _assign(np.s_[:, :, 3], cache["q", 4][1, :, 5]),
        ),
        "embedding": ("hook_embed", lens.zero(position=2), _assign(np.s_[:, 2], 0)),
        "mlp's input": ("blocks.5.hook_mlp_in", lens.scale(-1.0), _hook(lambda x: -x)),
    }  # fmt: skip


_NAMES = (
    "zero", "zero keys", "zero a prompt", "scale", "add", "set", "set by prompt", "set a head",
    "clamp", "mean", "mean over some", "project out", "knockout", "pattern", "patch",
    "patch from a text", "embedding", "mlp's input",
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs(ours, library):
    library.set_use_hook_mlp_in(True)
    made = _pairs(ours, library.run_with_cache(_TEXTS)[1])
    assert tuple(made) == _NAMES
    yield made
    library.set_use_hook_mlp_in(False)


@pytest.mark.parametrize("name", _NAMES)
def test_an_edit_is_the_function(ours, library, pairs, agree, name):
    point, edit, function = pairs[name]
    clean = ours(_TEXTS)
    edited = ours.run_with_hooks(_TEXTS, fwd_hooks=[(point, edit)])
    agree(edited, library.run_with_hooks(_TEXTS, fwd_hooks=[(point, function)]))
    assert abs(edited - clean).max() > 10 * theirs.TOLERANCE


def test_several_edits_and_hook_points_by_a_function(ours, library, pairs, agree):
    def is_middle(name: str) -> bool:
        return name.endswith("hook_z") and "blocks.1." <= name < "blocks.2."

    names = ("zero", "scale", "set by prompt")
    edits = [pairs[name][:2] for name in names] + [(is_middle, pairs["zero"][1])]
    functions = [(point, function) for point, _, function in (pairs[name] for name in names)]
    functions.append((is_middle, pairs["zero"][2]))
    with ours.hooks(edits), library.hooks(functions):
        (mine, kept), (other, cache) = (one.run_with_cache(_TEXTS) for one in (ours, library))
    agree(mine, other)
    agree(kept["resid_post", 9], cache["resid_post", 9])
    agree(ours(_TEXTS), library(_TEXTS))
