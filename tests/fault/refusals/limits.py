"""Requests with more entries, longer names or more rows than there may be."""

from collections.abc import Callable, Iterator
from typing import Any

from scalpel.v1 import run_pb2
from tests.fault.refusals.case import PROMPTS, RESID, Case, run
from tests.support.client import Client, make_request

ENTRIES: dict[str, dict[str, Any]] = {
    "captures": {"place": RESID},
    "probes": {"place": RESID, "statistics": ["STATISTIC_STD"]},
    "interventions": {"place": RESID, "zero": {}},
}


def many(count: int, field: str, item: dict[str, Any]) -> run_pb2.RunRequest:
    """A request with `count` equal entries, put together as bytes: JSON would take seconds."""
    without = make_request({"prompts": PROMPTS}).SerializeToString()
    entry = make_request({"prompts": PROMPTS, field: [item]}).SerializeToString()[len(without) :]
    return run_pb2.RunRequest.FromString(without + entry * count)


def cases() -> Iterator[Case]:
    for field, count in (("interventions", 100_000), ("captures", 1_000_000), ("probes", 100_000)):
        yield Case(f"{count} {field}", _entries(count, field), (field,))
    for field, item in ENTRIES.items():
        twice = {field: [{"name": "same", **item}, {"name": "same", **item}]}
        yield run(f"two {field} of one name", twice, f"{field}[1].name")
        yield Case(f"long name in {field}", _long_name(field, item), (f"{field}[0].name",))
    # The default name of the second capture.
    taken = {"captures": [{"name": "resid_pre[1]", "place": RESID}, {"place": RESID}]}
    yield run("a default name that is taken", taken, "captures[1].name")
    yield run("entries times layers times prompts", _many_places(), "captures[166]")
    yield Case("clean runs count as rows", _rows_with_their_clean_runs, ("prompts",))


def _entries(count: int, field: str) -> Callable[[Client], object]:
    """Within the limit of bytes, so that it is the limit of entries that answers."""

    def call(client: Client) -> object:
        item = {**ENTRIES[field], "place": {"site": "SITE_K"}}
        request = many(count, field, item)
        assert request.ByteSize() < client.model().limits.max_request_bytes
        return client.run(request)

    return call


def _long_name(field: str, item: dict[str, Any]) -> Callable[[Client], object]:
    def call(client: Client) -> object:
        name = "x" * (client.model().limits.max_name_bytes + 1)
        return client.run({"prompts": PROMPTS, field: [{"name": name, **item}]})

    return call


def _many_places() -> dict[str, Any]:
    prompts = [{"token_ids": {"ids": [1]}}] * 100
    return {"prompts": prompts, "captures": [{"place": {"site": "SITE_K"}}] * 1000}


def _rows_with_their_clean_runs(client: Client) -> object:
    """As many rows as there may be, until the clean runs come with them."""
    model = client.model()
    context = model.config.n_ctx
    rows = model.limits.max_tokens // context // 2 + 1
    request = {"prompts": [{"token_ids": {"ids": [1] * context}}] * rows, "validate_only": True}
    list(client.events(request))
    return client.run({**request, "include_clean_run": True})
