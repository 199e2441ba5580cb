"""Prompts that are missing, wrong, or too many."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.fault.calls import CONFIG
from tests.fault.refusals.case import INT32_MAX, INT32_MIN, Case, run
from tests.support.client import Client

N_CTX, VOCAB = CONFIG["n_positions"], CONFIG["vocab_size"]
OUTSIDE_THE_VOCABULARY = [-1, VOCAB, INT32_MIN, INT32_MAX]


def ids(*values: int) -> dict[str, Any]:
    return {"token_ids": {"ids": list(values)}}


def cases() -> Iterator[Case]:
    yield from _nothing_to_run()
    yield from _tokens()
    yield from _too_long()
    yield from _too_many()
    yield from _lengths_that_differ()


def _nothing_to_run() -> Iterator[Case]:
    zero_keys = {"place": {"path": "hook_k"}, "zero": {}}
    yield run("empty request", {"prompts": []}, "prompts")
    yield run("no prompt", {"prompts": [], "interventions": [zero_keys]}, "prompts")
    yield run("prompt without content", {"prompts": [{}]}, "prompts[0]")
    yield run("empty text", {"prompts": [{"text": ""}]}, "prompts[0]")
    yield run("no token ids", {"prompts": [{"token_ids": {}}]}, "prompts[0]")
    yield run("one of three empty", {"prompts": [ids(1), ids(), {"text": "a"}]}, "prompts[1]")


def _tokens() -> Iterator[Case]:
    for token in OUTSIDE_THE_VOCABULARY:
        prompt = {"prompts": [ids(1, token)]}
        yield run(f"prompt's token {token}", prompt, "prompts[0].token_ids.ids[1]")
        logits = {"prompts": [ids(1)], "logits": {"ids": {"ids": [2, token]}}}
        yield run(f"logits of token {token}", logits, "logits.ids.ids[1]")
        # No prompt can hold it.
        place = {"path": "hook_k", "where": {"positions": {"tokens": {"ids": [token]}}}}
        request = {"prompts": [ids(1)], "interventions": [{"place": place, "zero": {}}]}
        path = "interventions[0].place.where.positions.tokens"
        yield run(f"positions of token {token}", request, path)
        yield Case(f"detokenized token {token}", _detokenize(token), ("ids[1]",))


def _detokenize(token: int) -> Callable[[Client], object]:
    return lambda client: client.detokenize([1, token])


def _too_long() -> Iterator[Case]:
    yield run("one token too many", {"prompts": [ids(*[1] * (N_CTX + 1))]}, "prompts[0]")
    yield run("text too long", {"prompts": [{"text": "word " * 4000}]}, "prompts[0].text")

    def text(client: Client) -> object:
        most = client.model().limits.max_text_bytes
        return client.tokenize("a " * (most // 2 + 1))

    yield Case("text of too many bytes", text, ("text",))


def _too_many() -> Iterator[Case]:
    def one_prompt_too_many(client: Client) -> object:
        return client.run({"prompts": [ids(1)] * (client.model().limits.max_prompts + 1)})

    def one_row_too_many(client: Client) -> object:
        rows = client.model().limits.max_tokens // N_CTX + 1
        return client.run({"prompts": [ids(*[1] * N_CTX)] * rows})

    yield Case("one prompt too many", one_prompt_too_many, ("prompts",))
    yield run("a million prompts", {"prompts": [ids(1)] * 1_000_000}, "prompts")
    yield Case("more tokens than a request may have", one_row_too_many, ("prompts",))


def _lengths_that_differ() -> Iterator[Case]:
    """A patch reads as many positions as it writes."""
    place = {"path": "blocks.2.hook_resid_pre", "where": {"prompts": [0]}}
    for name, patch in {
        "other prompt": {"prompt": 1},
        "all positions": {"prompt": 1, "positions": {"range": {}}},
        "two positions": {"clean_prompt": 1, "positions": {"indices": {"values": [0, 1]}}},
    }.items():
        request = {
            "prompts": [ids(1, 2, 3, 4), ids(5, 6, 7)],
            "interventions": [{"place": place, "patch": patch}],
        }
        yield run(f"patch of {name}", request, "interventions[0].patch.positions")
