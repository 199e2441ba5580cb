"""A patch reads its source as it stands when the intervention applies, for all prompts alike: also
where the source is one of them, and whatever order they are listed in."""

import numpy as np
import pytest

A, B = [17, 230, 5], [640, 88, 411]


@pytest.mark.parametrize("prompts", [[0, 1], [1, 0], []], ids=["0, 1", "1, 0", "all"])
def test_every_prompt_reads_what_was_there_before(client, prompts):
    """The first two positions of A, the other way round, into both: `x[:, [1, 0]] = a[[0, 1]]`."""
    place = {"path": "blocks.3.hook_resid_post"}
    first, swapped = ({"indices": {"values": values}} for values in ([0, 1], [1, 0]))
    edit = {
        "place": {**place, "where": {"prompts": prompts, "positions": swapped}},
        "patch": {"prompt": 0, "positions": first},
    }
    result = client.run(
        {
            "prompts": [{"token_ids": {"ids": ids}} for ids in (A, B)],
            "interventions": [edit],
            "captures": [{"name": "stream", "place": place}],
            "include_clean_run": True,
        }
    )
    a = result.capture("stream", 3, prompt=0, clean=True)
    for prompt in (0, 1):
        want = result.capture("stream", 3, prompt, clean=True).copy()
        want[[1, 0]] = a[[0, 1]]
        assert np.array_equal(result.capture("stream", 3, prompt), want)
