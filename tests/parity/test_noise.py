"""The noise itself: Philox against the vectors that Random123 ships, and the server's numbers
against numpy's."""

import numpy as np
import pytest

from tests.parity import noise, places
from tests.support.client import site_pb2

# Counter, key, and output: kat_vectors of Random123, philox4x32 10.
_KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@pytest.mark.parametrize("counter, key, output", _KNOWN)
def test_philox_known_answers(counter, key, output):
    assert noise.philox(np.array([counter]), key[0] | key[1] << 32)[0].tolist() == list(output)


@pytest.mark.parametrize(
    "site",
    [site_pb2.SITE_MLP_POST, site_pb2.SITE_Z, site_pb2.SITE_ATTN_SCORES, site_pb2.SITE_EMBED],
    ids=places.site_name,
)
def test_server_noise_is_numpys(client, site):
    """Of a part of the site, in the second of two prompts: the numbers are those of the whole
    site."""
    seed, layer = 2**40 + 17, 4 if places.facts(site).per_layer else places.NO_LAYER
    where = {"prompts": [1], "positions": {"indices": {"values": [2, 5, -1]}}}
    if layer >= 0:
        where["layers"] = [layer]
    if site_pb2.AXIS_HEAD in places.facts(site).axes:
        where["heads"] = [1, 7]
    tokens = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14]]
    place = {"site": site, "where": where}
    result = client.run(
        {
            "prompts": [{"token_ids": {"ids": ids}} for ids in tokens],
            "seed": 1,
            "interventions": [
                {"place": {"site": "SITE_LN_F_OUT"}, "scale": {"factor": 1}},
                {"place": place, "noise": {"mean": 3, "std": 0.5, "seed": seed}},
            ],
            "captures": [{"name": "noised", "place": place}],
        }
    )
    got = result.capture("noised", layer if layer >= 0 else None, prompt=1)
    shape = places.shape_of_model(client.model())
    request = result.started.normalized
    region = places.resolve_region(site, request.interventions[1].place.where, tokens[1], shape)
    inner = len(tokens[1]) if site in places.ATTENTION_SITES else shape.units(site)
    want = noise.noise(
        site, region, inner, seed=seed, intervention=1, layer=layer, prompt=1, mean=3, std=0.5
    )
    if site in places.ATTENTION_SITES:
        past = places.causal(region)
        assert past.any() and np.isneginf(got[:, ~past]).all()
        got, want = got[:, past], want[:, past]
    # The logarithm and cosine of two libraries may differ in the last bit of a double, rarely seen
    # after rounding.
    np.testing.assert_allclose(got, want, rtol=2e-7, atol=0)
    assert (got == want).mean() > 0.99
