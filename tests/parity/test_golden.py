"""Replays the golden files against the server: parity without torch."""

import pytest

from tests.parity import answer, golden
from tests.support.client import Client
from tests.support.server import Server

MODELS = ("demo", *golden.TINY_MODELS)


@pytest.fixture(scope="module", params=MODELS)
def replay(request):
    """A client of one model, and the model's cases."""
    with (
        Server(model=golden.model_folder(request.param)) as server,
        Client(server.address) as client,
    ):
        yield client, golden.load(request.param)


def test_cases(replay):
    client, cases = replay
    wrong = []
    for case in cases:
        result = client.run(case.request)
        assert result.tokens == case.tokens, case.name
        differences = answer.compare(case.answer, answer.of_result(result))
        wrong += [
            (case.name, difference.key, f"{difference.excess:.3g} times what is allowed")
            for difference in differences
            if difference.excess > 1
        ]
    assert len(cases) > 5
    assert not wrong, f"{len(wrong)} differences: {wrong[:10]}"
