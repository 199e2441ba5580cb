"""A negative position counts from the end of the prompt that it is applied to: a patch at -1 from a
longer prompt reads that prompt's last position."""

import pytest

SHORT = "When Mary and John went to the store, Mary gave a drink to"
LONG = "Then one evening, when Mary and John went to the store, John gave a drink to"


def difference(client, token, **patch) -> float:
    """Logit of " Mary" minus that of " John", where RESID_POST of layer 6 is LONG's at -1."""
    last = {"indices": {"values": [-1]}}
    result = client.run(
        {
            "prompts": [{"text": SHORT}, {"text": LONG}],
            "interventions": [
                {
                    "place": {
                        "path": "resid_post",
                        "where": {"layers": [6], "positions": last, "prompts": [0]},
                    },
                    "patch": patch,
                }
            ],
            "logits": {"ids": {"ids": [token(" Mary"), token(" John")]}},
        }
    )
    mary, john = result.top_tokens(0)[0].tokens
    return mary.logit - john.logit


@pytest.mark.parametrize("source", [{"prompt": 1}, {"clean_prompt": 1}], ids=["edited", "clean"])
def test_the_last_position_is_the_sources_own(client, token, source):
    """HuggingFace: block 6's output of SHORT at [0, -1] = that of LONG at [0, -1]."""
    assert difference(client, token, **source) == pytest.approx(-11.1410, abs=1e-3)


def test_a_position_of_the_source_can_be_said(client, token):
    """HuggingFace: block 6's output of SHORT at [0, -1] = that of LONG at [0, 13]."""
    position = {"indices": {"values": [13]}}
    found = difference(client, token, prompt=1, positions=position)
    assert found == pytest.approx(-8.7047, abs=1e-3)
