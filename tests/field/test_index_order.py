"""A list of indices is an order: values meet it entry by entry, as in `x[np.ix_(...)] = values`."""

import numpy as np
import pytest

PROMPT = "When Mary and John went to the store, John gave a drink to"


def at(**where) -> dict:
    where = {name: {"indices": {"values": values}} for name, values in where.items()}
    return {"path": "mlp_post", "where": {"layers": [3], **where}}


@pytest.fixture(scope="module")
def result(client):
    """`set("mlp_post", [10, -10], unit=[200, 5], layer=3, position=-1)`, looked at as a whole and
    in the order of the request."""
    return client.run(
        {
            "prompts": [{"text": PROMPT}],
            "interventions": [
                {
                    "place": at(units=[200, 5], positions=[-1]),
                    "set": {"tensor": {"values": [10, -10]}},
                }
            ],
            "captures": [
                {"name": "whole", "place": at(positions=[-1])},
                {"name": "part", "place": at(units=[200, 5], positions=[-1, 0])},
            ],
            "logits": {"full": {}},
        }
    )


def test_the_first_value_goes_to_the_first_unit(result):
    neurons = result.capture("whole", 3)[0]
    assert (neurons[200], neurons[5]) == (10, -10)


def test_a_capture_has_the_order_asked(result):
    part = result.capture("part", 3)
    assert part[0].tolist() == [10, -10]
    assert not np.isin(part[1], [10, -10]).any()


def test_logits(result, token):
    """HuggingFace: `mlp.act`'s output of block 3 with [0, -1, 200] = 10 and [0, -1, 5] = -10. With
    the two values the other way round it is 11.3048."""
    logits = result.logits()[0]
    assert logits[token(" Mary")] - logits[token(" John")] == pytest.approx(10.8238, abs=1e-3)
