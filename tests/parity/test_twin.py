"""The twin itself: that looking on changes nothing, and that its edits are those of hooks written
by hand."""

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch

from tests.parity import meaning, models, places, random_specs, twin
from tests.parity.answer import key
from tests.parity.by_hand import ALL_LOGITS
from tests.support.client import make_request, site_pb2

pytestmark = pytest.mark.live

TOKENS = [3, 1, 4, 1, 5, 9, 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return twin.load(models.make(tmp_path_factory.mktemp("twin") / "model", seed=2, **models.TINY))


def logits(model, interventions, tokens=(TOKENS,), **fields):
    request = make_request(
        {
            "prompts": [{"token_ids": {"ids": ids}} for ids in tokens],
            "interventions": interventions,
            "logits": ALL_LOGITS,
            **fields,
        }
    )
    return twin.answer(model, request, [list(ids) for ids in tokens])


def by_hand(model, module, change, tokens=TOKENS):
    """Logits with one plain forward hook that changes a module's output in place."""

    def hook(module, args, output):
        change(output)
        return output

    handle = module.register_forward_hook(hook)
    try:
        with torch.inference_mode():
            return model(torch.tensor([tokens])).logits[0].numpy()
    finally:
        handle.remove()


def test_looking_on_changes_nothing(model):
    captures = [
        {"name": places.site_name(site), "place": {"site": site}} for site in places.ALL_SITES
    ]
    tokens = [TOKENS, [7, 7], TOKENS[::-1]]
    seen = logits(
        model, [], tokens, captures=captures, output_attentions=True, output_hidden_states=True
    )
    for prompt, ids in enumerate(tokens):
        with torch.inference_mode():
            plain = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
        assert np.array_equal(
            seen[key("logits", "", None, [prompt])].value, plain.logits[0].numpy()
        )
        for layer, attentions in enumerate(plain.attentions):
            assert np.array_equal(
                seen[key("capture", "pattern", layer, [prompt])].value, attentions[0].numpy()
            )
            past = torch.ones(len(ids), len(ids), dtype=torch.bool).tril().numpy()
            assert np.isneginf(
                seen[key("capture", "attn_scores", layer, [prompt])].value[:, ~past]
            ).all()
    with torch.inference_mode():
        batch = model(torch.tensor([tokens[0], tokens[2]]), output_hidden_states=True)
    for index, hidden in enumerate(batch.hidden_states):
        np.testing.assert_allclose(
            seen[key("hidden_states", index, None, [0, 2])].value, hidden.numpy(), rtol=0, atol=1e-5
        )


def test_zero_k_of_a_head(model):
    width = model.config.n_embd // model.config.n_head

    def zero(output):
        output[..., model.config.n_embd + 2 * width : model.config.n_embd + 3 * width] = 0

    want = by_hand(model, model.transformer.h[1].attn.c_attn, zero)
    at = {"site": "SITE_K", "where": {"layers": [1], "heads": [2]}}
    got = logits(
        model, [{"place": at, "zero": {}}], captures=[{"place": {**at, "site": "SITE_PATTERN"}}]
    )
    assert np.array_equal(got[key("logits", "", None, [0])].value, want)
    pattern = got[key("capture", "pattern[0]", 1, [0])].value[0]
    np.testing.assert_allclose(
        pattern, np.tril(np.ones_like(pattern)) / np.arange(1, 8)[:, None], rtol=1e-6
    )


def test_edits_of_the_residual_reach_both_branches(model):
    """RESID_MID is both ln_2's input and what the MLP is added to: an edit of it is one of the
    attention's output."""
    delta = torch.linspace(-1, 1, model.config.n_embd)
    want = by_hand(model, model.transformer.h[0].attn.c_proj, lambda output: output.add_(delta))
    add = {"add": {"tensor": {"values": delta.tolist()}}}
    for site in ("SITE_ATTN_OUT", "SITE_RESID_MID"):
        got = logits(model, [{"place": {"site": site, "where": {"layers": [0]}}, **add}])
        np.testing.assert_allclose(got[key("logits", "", None, [0])].value, want, rtol=0, atol=1e-5)


def test_mlp_and_block_output(model):
    block = model.transformer.h[1]
    want = by_hand(model, block.mlp.act, lambda output: output[..., ::2].mul_(3))
    got = logits(
        model,
        [
            {
                "place": {
                    "site": "SITE_MLP_POST",
                    "where": {"layers": [1], "units": {"range": {"step": 2}}},
                },
                "scale": {"factor": 3},
            }
        ],
    )
    assert np.array_equal(got[key("logits", "", None, [0])].value, want)
    want = by_hand(model, block, lambda output: output[0].mul_(0.1))
    got = logits(
        model,
        [
            {
                "place": {"site": "SITE_RESID_POST", "where": {"layers": [1]}},
                "scale": {"factor": 0.1},
            }
        ],
    )
    assert np.array_equal(got[key("logits", "", None, [0])].value, want)


def test_a_patch_of_everything_is_the_other_run(model):
    other = TOKENS[::-1]
    for site, last in (("SITE_RESID_POST", 2), ("SITE_RESID_PRE", 0)):
        got = logits(
            model,
            [
                {
                    "place": {"site": site, "where": {"layers": [last], "prompts": [0]}},
                    "patch": {"prompt": 1},
                }
            ],
            [TOKENS, other],
        )
        assert np.array_equal(
            got[key("logits", "", None, [0])].value, got[key("logits", "", None, [1])].value
        )


def test_knockout_renormalises_and_can_leave_nothing(model):
    place = {"site": "SITE_ATTN_SCORES", "where": {"layers": [0]}}
    captures = [{"place": {"site": "SITE_PATTERN", "where": {"layers": [0]}}}]
    whole = logits(model, [], captures=captures)[key("capture", "pattern[0]", 0, [0])].value
    got = logits(
        model,
        [
            {
                "place": place,
                "knockout": {"pairs": [{"query": -1, "key": 2}, {"query": 0, "key": 0}]},
            }
        ],
        captures=captures,
    )[key("capture", "pattern[0]", 0, [0])].value
    assert (got[:, 0] == 0).all()
    want = np.delete(whole[:, -1], 2, axis=1)
    np.testing.assert_allclose(
        np.delete(got[:, -1], 2, axis=1), want / want.sum(-1, keepdims=True), rtol=1e-5
    )


def test_random_requests_are_finite_and_edit_something(model):
    """The generator's requests mean something: else comparing their answers would prove little."""
    shape = places.shape_of_config(model.config)
    sites, operations = set(), set()
    for seed in range(120):
        specs = random_specs.Specs(shape, seed)
        request = specs.composition()
        found = twin.answer(model, request, specs.tokens)
        sites |= {
            places.resolve_place(i.place, shape, len(specs.tokens)).site
            for i in request.interventions
        }
        operations |= {i.WhichOneof("operation") for i in request.interventions}
        assert all(
            found[key("report", i) + " selected"].value > 0
            for i in range(len(request.interventions))
        )
        assert all(
            np.isfinite(item.value).all()
            for name, item in found.items()
            if item.kind == "logits" or (item.kind == "capture" and item.site != "attn_scores")
        ), seed
    assert operations == set(meaning.OPERATIONS)
    assert len(sites) >= len(meaning.EDITABLE_SITES) - 2
    assert site_pb2.SITE_HEAD_RESULT not in sites
