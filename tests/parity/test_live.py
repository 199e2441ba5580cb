"""The server against HuggingFace transformers, live: every site and operation, every config flag,
and random compositions of models that tests/oracle does not have."""

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch

from tests.parity import answer, cells, models, places, random_specs
from tests.parity.harness import Parity
from tests.support import environment
from tests.support.client import run_pb2, site_pb2, tensor_pb2

pytestmark = pytest.mark.live

TINY = models.TINY
# Each flag of a config that changes the maths, and each way to store weights.
VARIANTS = {
    "plain": dict(),
    "gelu": dict(activation_function="gelu"),
    "gelu_pytorch_tanh": dict(activation_function="gelu_pytorch_tanh"),
    "relu": dict(activation_function="relu"),
    "silu": dict(activation_function="silu"),
    "tanh": dict(activation_function="tanh"),
    "n_inner": dict(n_inner=37),
    "epsilon": dict(layer_norm_epsilon=0.03),
    "unscaled": dict(scale_attn_weights=False),
    "inverse_layer": dict(scale_attn_by_inverse_layer_idx=True),
    "upcast": dict(reorder_and_upcast_attn=True),
    "all_attention_flags": dict(
        scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True
    ),
    "untied": dict(tie_word_embeddings=False),
    "one_head": dict(n_head=1),
    "narrow_heads": dict(n_head=12),
    "one_layer": dict(n_layer=1),
    "float16": dict(store=torch.float16),
    "bfloat16": dict(store=torch.bfloat16),
    "sharded": dict(shards=3),
    "no_prefix": dict(prefix=False),
}
COMPOSITIONS = {"tiny": 6, "full": 24}  # tiny: of each variant


@pytest.fixture(scope="module")
def demo():
    with Parity("demo", environment.model_dir()) as parity:
        yield parity


@pytest.fixture(scope="module", params=VARIANTS)
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    with Parity(
        request.param, models.make(folder, seed=1, **{**TINY, **VARIANTS[request.param]})
    ) as parity:
        yield parity


@pytest.fixture(scope="module")
def full():
    folder = environment.scratch_dir() / "random-gpt2-124m"
    with Parity("124M", models.make(folder, seed=0, **models.FULL_SIZE)) as parity:
        yield parity


def check_cell(parity: Parity, site: int, operation: str, narrows: tuple[float, ...]) -> None:
    """One request for each of `narrows` whose edit moves the logits in the twin."""
    for narrow in narrows:
        for seed in range(40):
            request, tokens = cells.request(parity.shape, site, operation, seed, narrow)
            if cells.moves(parity.twin(request, tokens)):
                break
        else:
            pytest.fail(
                f"no edit of 40 moves the logits in HuggingFace: {operation} at "
                f"{places.site_name(site)}, {narrow=}"
            )
        parity.check(request, f"{operation} at {places.site_name(site)}, seed {seed}, {narrow=}")


def cell_name(value) -> str:
    return places.site_name(value) if isinstance(value, int) else value


@pytest.mark.parametrize("site, operation", cells.CELLS, ids=cell_name)
def test_operation_at_site(demo, site, operation):
    check_cell(demo, site, operation, narrows=(0.0, 0.5, 1.0))


@pytest.mark.parametrize("site, operation", cells.CELLS, ids=cell_name)
def test_operation_at_site_at_full_size(full, site, operation):
    check_cell(full, site, operation, narrows=(0.5,))


def everything(shape: places.ModelShape, seed: int, interventions: int) -> run_pb2.RunRequest:
    """Every site captured before and after, and all outputs."""
    specs = random_specs.Specs(shape, seed, prompts=3)
    for _ in range(interventions):
        specs.add_intervention()
    for site in places.ALL_SITES:
        for moment in (site_pb2.MOMENT_BEFORE, site_pb2.MOMENT_AFTER):
            specs.add_capture(site, moment, narrow=0.0)
            specs.request.captures[-1].dtype = tensor_pb2.DATA_TYPE_FLOAT32
            del specs.request.captures[-1].place.where.layers[:]
    request = specs.request
    request.include_clean_run = request.output_attentions = request.output_hidden_states = True
    request.block_outputs.SetInParent()
    request.logits.full.SetInParent()
    request.logits.positions.range.SetInParent()
    return request


@pytest.mark.parametrize("interventions", [0, 3])
def test_every_site(tiny, interventions):
    tiny.check(
        everything(tiny.shape, seed=5, interventions=interventions),
        f"every site, {interventions} interventions",
    )


@pytest.mark.parametrize("interventions", [0, 3])
def test_every_site_of_the_demo_model(demo, interventions):
    demo.check(
        everything(demo.shape, seed=6, interventions=interventions),
        f"every site, {interventions} interventions",
    )


@pytest.mark.parametrize("interventions", [0, 3])
def test_every_site_at_full_size(full, interventions):
    request = everything(full.shape, seed=7, interventions=interventions)
    for capture in request.captures:  # of one layer: of all they would be a hundred megabytes
        site = places.resolve_place(capture.place, full.shape, 3).site
        capture.place.Clear()
        capture.place.site = site
        capture.place.where.layers.extend([7] if places.facts(site).per_layer else [])
    full.check(request, f"every site, {interventions} interventions")


@pytest.mark.parametrize("seed", range(COMPOSITIONS["tiny"]))
def test_composition_tiny(tiny, seed):
    tiny.check(
        random_specs.Specs(tiny.shape, 1000 + seed).composition(), f"composition {1000 + seed}"
    )


@pytest.mark.parametrize("seed", range(COMPOSITIONS["full"]))
def test_composition_at_full_size(full, seed):
    full.check(
        random_specs.Specs(full.shape, 2000 + seed).composition(), f"composition {2000 + seed}"
    )


@pytest.mark.parametrize("length", [1, 2, 64, 257])
def test_logits_at_full_size(full, length):
    """Largest difference below 1e-3, and the same top token at every position."""
    tokens = np.random.default_rng(length).integers(0, full.shape.vocab_size, size=length).tolist()
    request = run_pb2.RunRequest()
    request.prompts.add().token_ids.ids.extend(tokens)
    request.logits.full.SetInParent()
    request.logits.positions.range.SetInParent()
    want, result = full.check(request, f"{length} tokens")
    want, got = want[answer.key("logits", "", None, [0])].value, result.logits()
    assert np.abs(want - got).max() < 1e-3
    assert np.array_equal(want.argmax(-1), got.argmax(-1))


def test_the_longest_prompt(demo):
    tokens = (
        np.random.default_rng(0).integers(0, demo.shape.vocab_size, size=demo.shape.n_ctx).tolist()
    )
    request = everything(demo.shape, seed=8, interventions=0)
    del request.prompts[:], request.captures[:]
    request.prompts.add().token_ids.ids.extend(tokens)
    request.output_attentions = request.output_hidden_states = False
    request.ClearField("block_outputs")
    demo.check(request, "the longest prompt")
