"""The oracle's own parts, against what was published or is plain."""

import numpy as np
import pytest

from tests.oracle import (
    forward,
    interpret,
    noise,
    random_specs,
    reads,
    requests,
    sites,
    weights,
)
from tests.support.client import statistic_pb2

# Counter, key and output: the known answers of Random123's philox4x32 with 10 rounds.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@pytest.fixture(scope="module")
def model(model_dir):
    return weights.read_model(model_dir)


@pytest.mark.parametrize("counter, key, output", KNOWN)
def test_philox(counter, key, output):
    words = noise.philox([np.array([word], np.uint64) for word in counter], key)
    assert [int(word[0]) for word in words] == list(output)


def test_normals_are_normal():
    elements, positions = np.meshgrid(np.arange(400), np.arange(50))
    drawn = noise.standard_normals(elements, positions, 5, 1, 2, 3)
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert abs(drawn.std() - 1) < 5 / np.sqrt(2 * drawn.size)
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.03


def test_gelu_at_known_points():
    """x times the normal distribution's cumulative function, nearly."""
    exact = np.array([-0.15865525, 0, 0.84134475, 2.99595031])
    np.testing.assert_allclose(forward.gelu(np.array([-1.0, 0, 1, 3])), exact, atol=1e-3)


def test_softmax_of_nothing_is_zero():
    rows = np.array([[0.0, -np.inf], [-np.inf, -np.inf], [1000.0, 1000.0]])
    assert forward.softmax(rows).tolist() == [[1, 0], [0, 0], [0.5, 0.5]]


def test_a_value_is_written_where_the_user_says(model):
    """Out of order, and from the end."""
    edit = {"op": "set", "path": "mlp_post", "layers": [3]}
    edit |= {"units": [200, 5], "positions": [-1, 0], "value": [[10, -10], [20, -20]]}
    capture = {"path": "blocks.3.mlp.hook_post"}
    spec = {"prompts": [[1, 2, 3]], "edits": [edit], "captures": [capture]}
    after = interpret.answer(model, spec)["capture", 0, 3, 0, False].value
    assert after[2, [200, 5]].tolist() == [10, -10]
    assert after[0, [200, 5]].tolist() == [20, -20]


def test_a_layer_norms_input_is_not_the_stream(model):
    """Zeroing what a LayerNorm sees leaves its bias, and leaves the residual stream."""
    spec = {
        "prompts": [[1, 2, 3]],
        "edits": [{"op": "zero", "path": "transformer.h.5.ln_2:input"}],
        "captures": [{"path": "ln2_out", "layers": [5]}, {"path": "resid_mid", "layers": [5]}],
        "include_clean_run": True,
    }
    found = interpret.answer(model, spec)
    bias = model.weights["h.5.ln_2.bias"]
    assert (found["capture", 0, 5, 0, False].value == bias).all()
    edited, clean = (found["capture", 1, 5, 0, clean].value for clean in (False, True))
    assert (edited == clean).all()


def test_every_name_that_is_served_is_known(client):
    """And means the site that the server says it is."""
    for site in client.model().sites:
        for name in requests.names_of(site):
            assert sites.find(name)[0].name == site.name, name
            editable = site.facts.editable and name not in site.facts.observe_only_aliases
            assert sites.find(name)[0].editable == editable, name


def test_every_operation_and_statistic_that_is_served_is_known(client):
    served = client.model()
    assert set(random_specs.OPERATIONS) == set(served.operations)
    names = {statistic_pb2.Statistic.Name(number) for number in served.statistics}
    assert {f"STATISTIC_{name.upper()}" for name in reads.STATISTICS} == names


def test_every_name_that_is_known_is_served(client):
    assert set(sites.NAMES) == set(requests.served_names(client))
