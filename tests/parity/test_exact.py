"""What must hold exactly, whatever the weights: the contract's statements, on the bundled model and
without a reference."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.parity import meaning, places
from tests.parity.by_hand import EDITS, HEAD, LAYER, OTHERS, TOKENS, at, request
from tests.support.client import site_pb2

# Of the logits' scale, where the same bytes are a goal but not promised.
LOGITS_TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def shape(client):
    return places.shape_of_model(client.model())


@pytest.fixture(scope="module")
def weights(model_dir):
    stored = load_file(model_dir / "model.safetensors")
    return {
        name.removeprefix("transformer."): value.astype(np.float64)
        for name, value in stored.items()
    }


# 1. Observing changes nothing.


def everything_observed(statistics=meaning.STATISTICS) -> dict:
    probes, captures = [], []
    for site in places.ALL_SITES:
        for moment in (site_pb2.MOMENT_BEFORE, site_pb2.MOMENT_AFTER):
            name = f"{places.site_name(site)} {moment}"
            wanted = [s for s in statistics if meaning.measurable(s, site, [])]
            probes.append(
                {
                    "name": name,
                    "place": {"site": site},
                    "moment": moment,
                    "statistics": wanted,
                    "quantiles": [0.5],
                    "histogram": {"bins": 4, "min": -1, "max": 1},
                }
            )
            captures.append({"name": name, "place": {"site": site}, "moment": moment})
    return {
        "probes": probes,
        "captures": captures,
        "output_attentions": True,
        "output_hidden_states": True,
    }


@pytest.mark.parametrize("edits", [[], EDITS], ids=["clean", "edited"])
@pytest.mark.parametrize("clean_run", [False, True], ids=["alone", "with clean run"])
@pytest.mark.parametrize("against_clean", [False, True], ids=["own", "against clean"])
def test_observing_changes_nothing(client, edits, clean_run, against_clean):
    """Also by statistics against the clean run, which then has to run beside the request."""
    statistics = [
        statistic
        for statistic in meaning.STATISTICS
        if against_clean or statistic not in meaning.AGAINST_CLEAN
    ]
    asked = request(edits, include_clean_run=clean_run)
    plain = client.run(asked).logits()
    seen = client.run({**asked, **everything_observed(statistics)})
    assert len(seen.statistics) > 24
    assert np.array_equal(seen.logits(), plain)
    if clean_run:
        assert np.array_equal(plain, seen.logits(clean=True)) == (not edits)


# 2. QKV's columns are K.


def test_k_of_a_head_is_columns_of_qkv(client, shape):
    first = shape.d_model + HEAD * shape.d_head
    columns = at(
        "qkv", layers=[LAYER], units={"range": {"start": first, "end": first + shape.d_head}}
    )
    captures = [
        ("pattern", at("pattern", layers=[LAYER])),
        ("qkv", at("qkv", layers=[LAYER])),
        ("k", at("k", layers=[LAYER])),
    ]
    as_columns = client.run(request([{"place": columns, "zero": {}}], captures=captures))
    as_head = client.run(
        request([{"place": at("k", layers=[LAYER], heads=[HEAD]), "zero": {}}], captures=captures)
    )
    for name in ("pattern", "qkv", "k"):
        assert np.array_equal(as_columns.capture(name, LAYER), as_head.capture(name, LAYER))
    assert not as_columns.capture("k", LAYER)[:, HEAD].any()
    assert np.array_equal(as_columns.logits(), as_head.logits())
    assert not np.array_equal(as_columns.logits(), client.run(request()).logits())


# 3. Without K or Q a head attends uniformly; without V or Z it is off.


@pytest.mark.parametrize("site", ["k", "q"])
def test_without_k_or_q_a_head_attends_uniformly(client, site):
    captures = [
        ("pattern", at("pattern", layers=[LAYER], heads=[HEAD])),
        ("z", at("z", layers=[LAYER], heads=[HEAD])),
    ]
    result = client.run(
        request([{"place": at(site, layers=[LAYER], heads=[HEAD]), "zero": {}}], captures=captures)
    )
    pattern = result.capture("pattern", LAYER)[0]
    uniform = np.tril(np.ones((len(TOKENS), len(TOKENS)))) / np.arange(1, len(TOKENS) + 1)[:, None]
    np.testing.assert_allclose(pattern, uniform.astype(np.float32), rtol=2.5e-7, atol=0)
    assert np.abs(result.capture("z", LAYER)).max() > 0


def test_without_v_or_z_a_head_is_off(client):
    captures = [
        ("z", at("z", layers=[LAYER], heads=[HEAD])),
        ("result", at("head_result", layers=[LAYER], heads=[HEAD])),
    ]
    answers = [
        client.run(
            request(
                [{"place": at(site, layers=[LAYER], heads=[HEAD]), "zero": {}}], captures=captures
            )
        )
        for site in ("v", "z")
    ]
    for answer in answers:
        assert not answer.capture("z", LAYER).any()
        assert not answer.capture("result", LAYER).any()
    assert np.array_equal(answers[0].logits(), answers[1].logits())
    assert not np.array_equal(answers[0].logits(), client.run(request()).logits())


# 4. The parts add up.


def test_parts_add_up(client, shape, weights):
    names = ("head_result", "attn_out", "resid_pre", "resid_mid", "mlp_out", "resid_post")
    result = client.run(request(EDITS[:2], captures=[(name, at(name)) for name in names]))
    for layer in range(shape.n_layer):
        part = {name: result.capture(name, layer) for name in names}
        heads = (
            part["head_result"].astype(np.float64).sum(1) + weights[f"h.{layer}.attn.c_proj.bias"]
        )
        np.testing.assert_allclose(
            heads, part["attn_out"], rtol=0, atol=1e-5 * np.abs(part["attn_out"]).max()
        )
        assert np.array_equal(part["resid_mid"], part["resid_pre"] + part["attn_out"])
        assert np.array_equal(part["resid_post"], part["resid_mid"] + part["mlp_out"])


# 5. The last block's scale reaches the logits only through the epsilon of ln_f.


@pytest.mark.parametrize("factor", [0.1, 10])
def test_scaling_the_last_block_only_moves_the_epsilon(client, shape, weights, factor):
    last = shape.n_layer - 1
    scaled = client.run(
        request(
            [{"place": at("resid_post", layers=[last]), "scale": {"factor": factor}}],
            captures=[("out", at("resid_post", layers=[last]))],
        )
    )
    clean = client.run(request(captures=[("out", at("resid_post", layers=[last]))]))
    np.testing.assert_allclose(
        scaled.capture("out", last), factor * clean.capture("out", last), rtol=1e-6
    )
    x = clean.capture("out", last).astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    epsilon = client.model().config.layer_norm_epsilon / factor**2
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    head = weights.get("lm_head.weight", weights["wte.weight"])
    want = (normal * weights["ln_f.weight"] + weights["ln_f.bias"]) @ head.T
    np.testing.assert_allclose(scaled.logits(), want, rtol=0, atol=1e-5 * np.abs(want).max())


# 6. An edit reaches neither earlier layers nor earlier positions.


@pytest.mark.parametrize("site", ["resid_pre", "qkv", "attn_scores", "z", "mlp_post", "resid_post"])
def test_an_edit_reaches_nothing_before_it(client, shape, site):
    layer, position = 6, 4
    edit = {
        "place": at(site, layers=[layer], positions={"indices": {"values": [position]}}),
        "add": {"constant": 1.5},
    }
    if site == "attn_scores":  # a constant added to a whole row would not change its softmax
        edit["place"]["where"]["key_positions"] = {"indices": {"values": [2]}}
    result = client.run(
        request([edit], captures=[("out", at("resid_post"))], include_clean_run=True)
    )
    for i in range(shape.n_layer):
        edited, clean = result.capture("out", i), result.capture("out", i, clean=True)
        assert np.array_equal(edited[:position], clean[:position]), f"layer {i}"
        assert np.array_equal(edited, clean) == (i < layer), f"layer {i}"
    assert np.array_equal(result.logits()[:position], result.logits(clean=True)[:position])
    assert (result.logits()[position] != result.logits(clean=True)[position]).any()


# 7. The same request gives the same answer, and so does the same prompt beside others.


def test_repeated_requests_have_the_same_bytes(client):
    asked = {
        **request(EDITS, tokens=[TOKENS, *OTHERS], include_clean_run=True),
        **everything_observed(),
    }
    first = client.run(asked)
    assert len(first.content()) > 1000
    assert first.content() == client.run(asked).content()


@pytest.mark.parametrize("edits", [[], EDITS], ids=["clean", "edited"])
def test_alone_or_in_a_batch(client, edits):
    """The prompt keeps its index, since noise depends on it."""
    captures = [("out", at("resid_post", prompts=[0]))]
    alone = client.run(request(edits, captures=captures))
    batch = client.run(request(edits, tokens=[TOKENS, *OTHERS], captures=captures))
    scale = np.abs(alone.logits()).max()
    np.testing.assert_allclose(
        batch.logits(), alone.logits(), rtol=0, atol=LOGITS_TOLERANCE * scale
    )
    for layer in (0, 5, 11):
        out = alone.capture("out", layer)
        np.testing.assert_allclose(
            batch.capture("out", layer), out, rtol=0, atol=1e-5 * np.abs(out).max()
        )


def test_equal_prompts_in_one_batch_have_the_same_bytes(client):
    result = client.run(request(EDITS[:1], tokens=[TOKENS, *OTHERS, TOKENS]))
    assert np.array_equal(result.logits(0), result.logits(len(OTHERS) + 1))


def test_no_operation_by_another_name(client):
    """A value written over itself is the clean run, bit for bit."""
    edits = [
        {"place": at("resid_mid"), "scale": {"factor": 1}},
        {"place": at("mlp_post"), "clamp": {"min": -1e30}},
        {"place": at("q"), "patch": {"clean_prompt": 0}},
        {"place": at("z"), "add": {"constant": 0}},
    ]
    result = client.run(request(edits, include_clean_run=True))
    assert np.array_equal(result.logits(), result.logits(clean=True))
    assert [report.elements_changed for report in result.reports] == [0] * len(edits)
    assert all(report.elements_selected for report in result.reports)


# Places where an operation reads what it writes.


def test_a_patch_within_a_prompt_reads_before_it_writes(client):
    """Positions 1 to 9 become what 0 to 8 were, though the two overlap."""
    place = at("resid_post", layers=[3])
    edit = {
        "place": at("resid_post", layers=[3], positions={"range": {"start": 1}}),
        "patch": {"prompt": 0, "positions": {"range": {"end": -1}}},
    }
    result = client.run(request([edit], captures=[("after", place)], include_clean_run=True))
    after, clean = result.capture("after", 3), result.capture("after", 3, clean=True)
    assert np.array_equal(after[1:], clean[:-1])
    assert np.array_equal(after[0], clean[0])


def test_interventions_apply_in_the_order_given(client):
    place = at("mlp_out", layers=[2])
    add, scale = {"place": place, "add": {"constant": 1}}, {"place": place, "scale": {"factor": 2}}
    orders = [
        client.run(request(edits, captures=[("after", place)], include_clean_run=True))
        for edits in ([add, scale], [scale, add])
    ]
    clean = orders[0].capture("after", 2, clean=True)
    assert np.array_equal(orders[0].capture("after", 2), (clean + 1) * 2)
    assert np.array_equal(orders[1].capture("after", 2), clean * 2 + 1)


def test_no_edit_of_attention_shows_the_future(client):
    for site, edit in (
        ("attn_scores", {"set": {"constant": 3}}),
        ("pattern", {"add": {"constant": 0.25}}),
    ):
        place = at(site, layers=[LAYER])
        result = client.run(request([{"place": place, **edit}], captures=[("after", place)]))
        after = result.capture("after", LAYER)
        future = np.triu(np.ones(after.shape[1:], bool), 1)
        assert (after[:, future] == (-np.inf if site == "attn_scores" else 0)).all()
        assert result.reports[0].elements_selected == after.shape[0] * (~future).sum()


def test_a_query_without_keys_attends_to_nothing(client):
    captures = [("pattern", at("pattern", layers=[LAYER])), ("z", at("z", layers=[LAYER]))]
    edit = {
        "place": at("attn_scores", layers=[LAYER], positions={"indices": {"values": [3]}}),
        "knockout": {},
    }
    result = client.run(request([edit], captures=captures))
    assert not result.capture("pattern", LAYER)[:, 3].any()
    assert not result.capture("z", LAYER)[3].any()
    np.testing.assert_allclose(
        np.delete(result.capture("pattern", LAYER), 3, axis=1).sum(-1), 1, rtol=1e-6
    )
    assert np.isfinite(result.logits()).all()


def test_moments_before_and_after(client):
    """Before the interventions of this place, after those of earlier ones; Q, K, V and QKV are one
    place."""
    place = at("k", layers=[LAYER])
    asked = request(
        [
            {"place": at("qkv", layers=[LAYER]), "scale": {"factor": 2}},
            {"place": place, "add": {"constant": 1}},
        ],
        include_clean_run=True,
    )
    asked["captures"] = [
        {"name": name, "place": place, "moment": name} for name in ("MOMENT_BEFORE", "MOMENT_AFTER")
    ]
    result = client.run(asked)
    clean = result.capture("MOMENT_AFTER", LAYER, clean=True)
    assert np.array_equal(result.capture("MOMENT_BEFORE", LAYER), clean)
    assert np.array_equal(result.capture("MOMENT_AFTER", LAYER), clean * 2 + 1)
    assert result.reports[0].max_abs_change > 0 and result.reports[
        1
    ].max_abs_change == pytest.approx(1, rel=1e-5)
