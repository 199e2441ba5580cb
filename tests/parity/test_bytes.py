"""The same request gives the same bytes: on every CPU, by each kind of vectors that this one has
and by none, with one thread and with several; and in every cell of a sweep."""

import itertools

import numpy as np
import pytest

from tests.parity import golden, golden_bytes
from tests.support.client import Client
from tests.support.server import Server, StartError

VECTORS = ("avx512", "avx2", "neon", "portable")
THREADS = (1, 2)


def test_every_machine_has_vectors_to_compare():
    """This CPU's best, and at least the portable kernels."""
    assert len(list(_servable())) >= 2


def _servable():
    for vectors in VECTORS:
        try:
            with (
                Server("--vectors", vectors, model=golden.model_folder("tiny")) as server,
                Client(server.address) as client,
            ):
                assert client.model().kernels == vectors
                yield vectors
        except StartError as error:
            assert "--vectors" in str(error) and "this CPU" in str(error)
            assert vectors != "portable"


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("model", golden_bytes.MODELS)
def test_golden_bytes(model, vectors, threads):
    expected = golden_bytes.load()[model]
    requests = golden_bytes.requests(model)
    assert list(expected) == sorted(requests)
    flags = ["--vectors", vectors, "--threads", str(threads)]
    server = Server(*flags, model=golden.model_folder(model))
    try:
        server.start()
    except StartError:
        pytest.skip(f"this CPU has no {vectors}")
    wrong = []
    try:
        with Client(server.address) as client:
            for name, request in requests.items():
                got = golden_bytes.digests(client, request)
                assert list(got) == list(expected[name]), name
                wrong += [(name, key) for key in got if got[key] != expected[name][key]]
    finally:
        server.stop()
    assert not wrong, f"{len(wrong)} of {sum(map(len, expected.values()))} items: {wrong[:10]}"


# ---- every cell ----------------------------------------------------------------------------------

PROMPTS = (
    [17, 230, 5, 1999, 640, 88, 5, 1203, 411, 9, 63, 71, 700],
    list(range(100, 120)),
    [3, 3, 3, 44, 3],
)
IDS = [3, 40, 77, 1203]


def _cells(tokens, axis):
    """The intervention of a sweep, its axes, and how a cell's place is said in a Run."""
    layers = list(range(12))
    if axis == "heads":
        return {"place": {"path": "z"}, "zero": {}}, layers, list(range(12))
    edit = {"place": {"path": "resid_pre"}, "patch": {"cleanPrompt": 1}}
    return edit, layers, list(range(len(tokens)))


@pytest.mark.parametrize("axis", ["heads", "positions"])
@pytest.mark.parametrize("prompt", range(len(PROMPTS)))
def test_every_cell_is_its_own_run(client, prompt, axis):
    tokens = PROMPTS[prompt]
    source = [(token + 1 + index) % 2000 for index, token in enumerate(tokens)]
    prompts = [{"tokenIds": {"ids": tokens}}]
    sources = [{"tokenIds": {"ids": source}}] if axis == "positions" else []
    edit, layers, others = _cells(tokens, axis)
    sweep = client.sweep(
        {
            "prompts": prompts,
            "sources": sources,
            "grid": {
                "interventions": [edit],
                "axes": [{"layers": {"values": layers}}, {axis: {"values": others}}],
            },
            "metrics": [{"logits": {"ids": IDS}}, {"logProbs": {"ids": IDS}}],
        }
    )
    moved = 0
    for index, (layer, other) in enumerate(itertools.product(layers, others)):
        where = {"layers": [layer], "prompts": [0]}
        where |= (
            {"heads": [other]}
            if axis == "heads"
            else {"positions": {"indices": {"values": [other]}}}
        )
        run = client.run(
            {
                "prompts": prompts + sources,
                "interventions": [{**edit, "place": {**edit["place"], "where": where}}],
                "logits": {"ids": {"ids": IDS}},
            }
        )
        (position,) = run.top_tokens()
        alone = np.array([token.logit for token in position.tokens], np.float32)
        logits, log_probs = (np.array(m.values) for m in sweep.variants[index].metrics)
        assert np.array_equal(logits.astype(np.float32), alone), (layer, other)
        of_run = np.array([token.log_prob for token in position.tokens], np.float32)
        assert np.array_equal(log_probs.astype(np.float32), of_run), (layer, other)
        moved += not np.array_equal(logits, sweep.clean.metrics[0].values)
    assert moved > len(layers) * len(others) // 2
