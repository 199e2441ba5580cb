"""Numbers of heads 3 and 7 were labelled 0 and 1: what is sent names the model's own indices."""

from tests.support.client import site_pb2

PROMPT = {"text": "When Mary and John went to the store, John gave a drink to"}  # 14 tokens


def indices(axes) -> dict[str, list[int]]:
    return {
        site_pb2.Axis.Name(axis.axis): list(axis.values)
        or [axis.start + i * axis.step for i in range(axis.count)]
        for axis in axes
    }


def test_a_statistic_names_the_heads_that_it_kept(client):
    probe = {
        "place": {"path": "z", "where": {"layers": [1], "heads": [7, 3]}},
        "statistics": ["STATISTIC_L2_NORM"],
        "keep": ["AXIS_HEAD"],
    }
    (result,) = client.run({"prompts": [PROMPT], "probes": [probe]}).statistics
    assert list(result.shape) == [2] and indices(result.axes) == {"AXIS_HEAD": [7, 3]}


def test_a_capture_names_every_axis(client):
    where = {
        "layers": [1],
        "heads": [-1],
        "positions": {"range": {"start": -5, "step": 2}},
        "units": {"indices": {"values": [5, 0, -1]}},
    }
    capture = {"name": "z", "place": {"path": "z", "where": where}}
    answer = client.run({"prompts": [PROMPT], "captures": [capture]})
    (tensor,) = answer.tensors
    assert indices(tensor.header.axes) == {
        "AXIS_POSITION": [9, 11, 13],
        "AXIS_HEAD": [11],
        "AXIS_UNIT": [5, 0, 7],
    }
    assert tensor.array.shape == (3, 1, 3)


def test_full_logits_name_their_positions(client):
    logits = {"positions": {"indices": {"values": [-1, 0]}}, "full": {}}
    (tensor,) = client.run({"prompts": [PROMPT], "logits": logits}).tensors
    assert indices(tensor.header.axes)["AXIS_POSITION"] == [13, 0]
