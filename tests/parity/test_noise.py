"""Noise depends on its seed and its place, and on nothing else in the batch."""

import math

import numpy as np

from tests.parity.by_hand import EDITS, OTHERS, TOKENS, at, request


def test_noise_is_the_same_in_any_batch(client):
    noise = {"place": at("mlp_post", layers=[6], prompts=[0]), "noise": {"mean": 10, "std": 2}}
    captures = [("noise", at("mlp_post", layers=[6], prompts=[0]))]
    alone = client.run(request([noise], captures=captures, seed=7))
    batch = client.run(
        request(
            [noise, EDITS[0]],
            tokens=[TOKENS, *OTHERS],
            captures=captures,
            seed=7,
            include_clean_run=True,
        )
    )
    other = client.run(request([noise], captures=captures, seed=8))
    assert np.array_equal(alone.capture("noise", 6), batch.capture("noise", 6))
    assert not (alone.capture("noise", 6) == other.capture("noise", 6)).any()
    values = alone.capture("noise", 6)
    assert abs(values.mean() - 10) < 5 * 2 / math.sqrt(values.size)
    assert abs(values.std() - 2) < 5 * 2 / math.sqrt(2 * values.size)


def test_noise_differs_between_prompts_positions_and_interventions(client):
    place = at("mlp_post", layers=[6])
    noise = {"place": place, "noise": {}}
    result = client.run(request([noise], tokens=[TOKENS, TOKENS], captures=[("noise", place)]))
    first, second = result.capture("noise", 6, 0), result.capture("noise", 6, 1)
    assert not (first == second).any()
    assert len(np.unique(first)) == first.size
    later = client.run(request([EDITS[0], noise], captures=[("noise", place)])).capture("noise", 6)
    assert not (first == later).any()


def test_a_selection_does_not_shift_the_noise(client):
    place = at("mlp_post", layers=[6])
    part = at(
        "mlp_post",
        layers=[6],
        units={"range": {"start": 5, "step": 7}},
        positions={"range": {"start": -3}},
    )
    whole = client.run(
        request([{"place": place, "noise": {}}], captures=[("noise", place)])
    ).capture("noise", 6)
    some = client.run(request([{"place": part, "noise": {}}], captures=[("noise", part)])).capture(
        "noise", 6
    )
    assert np.array_equal(whole[-3:, 5::7], some)
