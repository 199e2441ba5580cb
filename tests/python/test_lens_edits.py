"""Typed edits of `scalpel.lens`: the operations that they are, what of an array meets what, and how
a function is refused."""

import numpy as np
import pytest

import scalpel
from scalpel import lens
from tests.python.lens_runs import OTHER, PROMPT, plain_logits

RNG = np.random.default_rng(0)
WIDE = RNG.standard_normal(96).astype(np.float32)


@pytest.fixture(scope="module")
def rows(hooked):
    return hooked.to_tokens([PROMPT, OTHER])


@pytest.fixture(scope="module")
def clean(hooked, rows):
    """Logits and cache."""
    return hooked.run_with_cache(rows)


EDITS = {
    "zero": ("z", lens.zero(head=8), scalpel.zero("z", layer=2, head=8)),
    "zero of a prompt": (
        "z", lens.zero(head=8, prompt=-1), scalpel.zero("z", layer=2, head=8, prompt=1)
    ),
    "scale": ("mlp_out", lens.scale(3.0), scalpel.scale("mlp_out", 3.0, layer=2)),
    "add": (
        "resid_pre", lens.add(WIDE, coefficient=2.0, position=-1),
        scalpel.add("resid_pre", WIDE, coefficient=2.0, layer=2, position=-1),
    ),
    "set_": ("q", lens.set_(1.5, head=[0, 3]), scalpel.set_("q", 1.5, layer=2, head=[0, 3])),
    "noise": (
        "mlp_out", lens.noise(0.5, mean=1, mode="add", seed=7),
        scalpel.noise("mlp_out", 0.5, mean=1, mode="add", seed=7, layer=2),
    ),
    "clamp": (
        "post", lens.clamp(-0.1, 0.1, unit=slice(0, 200)),
        scalpel.clamp("mlp_post", -0.1, 0.1, layer=2, unit=slice(0, 200)),
    ),
    "mean": ("mlp_out", lens.mean(over=[1, 2]), scalpel.mean("mlp_out", over=[1, 2], layer=2)),
    "project_out": (
        "resid_post", lens.project_out(WIDE, factor=-1.0),
        scalpel.project_out("resid_post", WIDE, factor=-1.0, layer=2),
    ),
    "knockout": (
        "attn_scores", lens.knockout([(-1, 2)], head=range(6)),
        scalpel.knockout([(-1, 2)], layer=2, head=range(6)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_the_clients_operation(hooked, model, rows, clean, name):
    short, edit, operation = EDITS[name]
    full = lens.utils.get_act_name(short, 2)
    edited = hooked.run_with_hooks(rows, fwd_hooks=[(full, edit)])
    assert np.array_equal(edited, plain_logits(model, rows, [operation]))
    assert abs(edited - clean[0]).max() > 1e-3
    assert repr(edit).startswith(name.partition(" ")[0])


# Hook point, index of the batch's tensor, the same as selectors, shape of the value.
INDICES = [
    ("resid_pre", np.s_[:], {}, (96,)),
    ("resid_pre", np.s_[:], {}, (15, 96)),
    ("resid_pre", np.s_[:], {}, (2, 15, 96)),
    ("resid_pre", np.s_[:, 3], {"position": 3}, (96,)),
    ("resid_pre", np.s_[:, 3], {"position": 3}, (2, 96)),
    ("resid_pre", np.s_[:, 3], {"position": 3}, (1, 96)),
    ("resid_pre", np.s_[1, 3], {"position": 3, "prompt": 1}, (96,)),
    ("resid_pre", np.s_[:, 2:5], {"position": slice(2, 5)}, (2, 3, 96)),
    ("resid_pre", np.s_[:, 2:5, 7], {"position": slice(2, 5), "unit": 7}, (3,)),
    ("resid_pre", np.s_[:, 2:5, 7], {"position": slice(2, 5), "unit": 7}, (2, 3)),
    ("z", np.s_[:, :, 6], {"head": 6}, (8,)),
    ("z", np.s_[:, :, 6], {"head": 6}, (15, 8)),
    ("z", np.s_[:, :, 6], {"head": 6}, (2, 15, 8)),
    ("z", np.s_[:, 4, 6], {"position": 4, "head": 6}, (2, 8)),
    ("z", np.s_[:, :, [6, 1]], {"head": [6, 1]}, (2, 8)),
    ("z", np.s_[:, :, [6, 1]], {"head": [6, 1]}, (2, 15, 2, 8)),
    ("z", np.s_[:, 4, :, 5], {"position": 4, "unit": 5}, (12,)),
    ("z", np.s_[:, :, 6, 5], {"head": 6, "unit": 5}, (2, 15)),
    ("pattern", np.s_[:, 6, 14], {"head": 6, "query": 14}, (2, 15)),
    ("pattern", np.s_[:, :, 14, 0], {"position": 14, "key": 0}, (12,)),
]


@pytest.mark.parametrize(("short", "index", "where", "shape"), INDICES)
def test_an_array_meets_the_selected_part_as_in_numpy(
    hooked, rows, clean, short, index, where, shape
):
    """The edit of a part, and the whole tensor written as numpy makes it of the same values."""
    name = lens.utils.get_act_name(short, 3)
    value = RNG.standard_normal(shape).astype(np.float32)
    whole = clean[1][name].copy()
    whole[index] = value
    part = hooked.run_with_hooks(rows, fwd_hooks=[(name, lens.set_(value, **where))])
    expected = hooked.run_with_hooks(rows, fwd_hooks=[(name, lens.set_(whole))])
    assert np.array_equal(part, expected)
    assert abs(part - clean[0]).max() > 1e-3


def test_arrays_of_other_shapes_are_refused(hooked, rows):
    for value, where in [
        (np.zeros((2, 15, 96)), {"position": 3}),
        (np.zeros((3, 96)), {"position": 3}),
        (np.zeros((2, 96)), {"position": 3, "prompt": [1]}),
    ]:
        with pytest.raises(ValueError, match=r"value: 3 axes|rows of values for|broadcast"):
            hooked.run_with_hooks(
                rows, fwd_hooks=[("blocks.3.hook_resid_pre", lens.set_(value, **where))]
            )


def test_a_patch_reads_the_clean_run_of_its_source(hooked, rows, clean):
    name, swapped = "blocks.4.hook_resid_pre", rows[::-1]
    values = clean[1][name][::-1]
    expected = hooked.run_with_hooks(
        rows, fwd_hooks=[(name, lens.set_(values[:, 9:12], position=range(9, 12)))]
    )
    _, cache = hooked.run_with_cache(swapped, names_filter=[])
    for source in ([OTHER, PROMPT], swapped, swapped.tolist(), cache):
        edit = lens.patch(source, position=range(9, 12))
        assert np.array_equal(hooked.run_with_hooks(rows, fwd_hooks=[(name, edit)]), expected)
    assert abs(expected - clean[0]).max() > 1
    # One row for all prompts, other places of it, and an earlier edit that the source is free of.
    edits = [
        ("blocks.0.attn.hook_z", lens.zero()),
        ("blocks.4.attn.hook_z", lens.patch(OTHER, head=3, from_head=5, position=2, from_layer=1)),
    ]
    value = clean[1]["z", 1][1, 2, 5]
    written = [edits[0], ("blocks.4.attn.hook_z", lens.set_(value, head=3, position=2))]
    patched = hooked.run_with_hooks(rows, fwd_hooks=edits)
    assert patched.shape == (2, 15, 2048)
    assert np.array_equal(patched, hooked.run_with_hooks(rows, fwd_hooks=written))
    three = lens.patch(np.concatenate([rows, rows[:1]]))
    with pytest.raises(ValueError, match="3 rows of the source for 2 prompts"):
        hooked.run_with_hooks(rows, fwd_hooks=[(name, three)])


def test_the_source_begins_as_the_input_does(hooked, rows):
    """`prepend_bos` of the call is also of the text that a patch reads."""
    name = "blocks.4.hook_resid_pre"
    edited = hooked.run_with_hooks(PROMPT, fwd_hooks=[(name, lens.patch(OTHER))], prepend_bos=False)
    by_ids = hooked.run_with_hooks(rows[:1, 1:], fwd_hooks=[(name, lens.patch(rows[1:, 1:]))])
    assert edited.shape == (1, 14, 2048) and np.array_equal(edited, by_ids)
    # Also where the server is asked again, later.
    with hooked.hooks([(name, lens.patch(OTHER))]):
        _, cache = hooked.run_with_cache(PROMPT, names_filter=[], prepend_bos=False)
        _, kept = hooked.run_with_cache(
            PROMPT, names_filter="blocks.5.attn.hook_result", prepend_bos=False
        )
    cache.compute_head_results()
    assert np.array_equal(cache["result", 5], kept["result", 5])


def test_a_function_names_hook_points(hooked, rows):
    some = [f"blocks.{layer}.attn.hook_z" for layer in (3, 7)]
    by_name = hooked.run_with_hooks(rows, fwd_hooks=[(name, lens.zero(head=1)) for name in some])
    by_function = hooked.run_with_hooks(
        rows, fwd_hooks=[(lambda name: name in some, lens.zero(head=1))]
    )
    assert np.array_equal(by_name, by_function)
    with pytest.raises(KeyError, match="true of no hook point"):
        hooked.run_with_hooks(rows, fwd_hooks=[(lambda name: False, lens.zero())])


def test_hooks_hold_in_their_block_and_in_it_alone(hooked, rows, clean):
    first, second = ((f"blocks.{layer}.hook_mlp_out", lens.scale(0.5)) for layer in (1, 2))
    both = hooked.run_with_hooks(rows, fwd_hooks=[first, second])
    with hooked.hooks([first]) as same:
        assert same is hooked
        with hooked.hooks([second]):
            logits, cache = hooked.run_with_cache(rows, names_filter="blocks.2.hook_mlp_out")
            assert np.array_equal(logits, both)
            assert abs(cache["mlp_out", 2] - clean[1]["mlp_out", 2]).max() > 1e-3
        assert np.array_equal(hooked.run_with_hooks(rows, fwd_hooks=[second]), both)
        with pytest.raises(RuntimeError), hooked.hooks([second]):
            raise RuntimeError
        assert np.array_equal(hooked(rows), hooked.run_with_hooks(rows, fwd_hooks=[]))
    assert np.array_equal(hooked(rows), clean[0])
    with pytest.raises(ValueError, match="made under edits"):
        lens.patch(cache)


def test_a_function_in_place_of_an_edit_is_told_what_to_write(hooked, rows):
    with pytest.raises(TypeError) as refusal:
        hooked.run_with_hooks(
            rows,
            fwd_hooks=[("blocks.0.attn.hook_z", lens.zero()), ("hook_embed", lambda x, hook: x)],
        )
    text = str(refusal.value)
    assert text.startswith("fwd_hooks[1]: a Python function cannot run on the server")
    for edit in (
        "zero",
        "set_",
        "scale",
        "add",
        "mean",
        "patch",
        "project_out",
        "noise",
        "clamp",
        "knockout",
    ):
        assert f"{edit}(" in text and hasattr(lens, edit)
    with pytest.raises(TypeError, match=r"fwd_hooks\[0\]: 3"):
        hooked.run_with_hooks(rows, fwd_hooks=[("hook_embed", 3)])


def test_what_the_server_refuses_names_the_hook_point(hooked, rows):
    with pytest.raises(scalpel.InvalidArgument, match=r"blocks\.0\.attn\.hook_z.*\n.*head: 99"):
        hooked.run_with_hooks(rows, fwd_hooks=[("blocks.0.attn.hook_z", lens.zero(head=99))])
