"""A module's input is what that module sees: an edit at `ln_2:input` changes what the LayerNorm is
given, and not the residual stream that goes past it."""

import pytest

PROMPT = "When Mary and John went to the store, John gave a drink to"
# HuggingFace: a forward pre-hook at the module that zeroes its input; logit of " Mary" minus that
# of " John", and the top token.
CASES = {
    "transformer.h.5.ln_2:input": (11.5409, " Mary"),
    "transformer.h.5.ln_1:input": (10.9064, " Mary"),
    "transformer.h.0.ln_1:input": (3.3338, " came"),
    "transformer.ln_f:input": (-0.4868, " Dan"),
}
# The same at the block's own input: the residual stream is zeroed with it.
CASES["transformer.h.5:input"] = (-0.3557, " cor")


@pytest.mark.parametrize("path", CASES)
def test_zeroed(client, token, path):
    wanted, top = CASES[path]
    edit = {"place": {"path": path}, "zero": {}}
    request = {"prompts": [{"text": PROMPT}], "interventions": [edit]}
    ids = [token(" Mary"), token(" John")]
    mary, john = client.run({**request, "logits": {"ids": {"ids": ids}}}).top_tokens()[0].tokens
    assert mary.logit - john.logit == pytest.approx(wanted, abs=1e-3)
    assert client.run(request).top_tokens()[0].tokens[0].token == top


def test_the_stream_is_not_touched(client):
    """Though all that the LayerNorm sees is zero."""
    captures = [
        {"name": path, "place": {"path": path}}
        for path in ("transformer.h.5.ln_2:input", "blocks.5.hook_resid_mid")
    ]
    edit = {"place": {"path": "transformer.h.5.ln_2:input"}, "zero": {}}
    result = client.run(
        {
            "prompts": [{"text": PROMPT}],
            "interventions": [edit],
            "captures": captures,
            "include_clean_run": True,
        }
    )
    seen, stream = (capture["name"] for capture in captures)
    assert not result.capture(seen, 5).any()
    assert result.capture(stream, 5).all()
    assert (result.capture(stream, 5) == result.capture(stream, 5, clean=True)).all()
