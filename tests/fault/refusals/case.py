"""A row of the tables of refusals, and the requests that the rows are made of."""

import dataclasses
from collections.abc import Callable
from typing import Any

import grpc

from scalpel.v1 import run_pb2
from tests.support.client import Client

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
PROMPTS = [{"token_ids": {"ids": [1, 2, 3, 4]}}]
RESID = {"path": "blocks.3.hook_resid_pre"}
# The first and the last number of each type of index.
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


@dataclasses.dataclass(frozen=True)
class Case:
    """A call that is refused with this code, for the fields with these paths and no others."""

    name: str
    call: Callable[[Client], object]
    fields: tuple[str, ...]
    code: grpc.StatusCode = INVALID_ARGUMENT


def run(
    name: str,
    request: dict[str, Any] | run_pb2.RunRequest,
    *fields: str,
    code: grpc.StatusCode = INVALID_ARGUMENT,
) -> Case:
    """A Run of this request, which has four tokens as its prompt unless it says otherwise."""
    if isinstance(request, dict):
        request = {"prompts": PROMPTS, **request}
    return Case(name, lambda client: client.run(request), fields, code)


def edit(name: str, intervention: dict[str, Any], field: str) -> Case:
    """A Run with one intervention. `field` is within it, and may be empty."""
    path = f"interventions[0].{field}" if field else "interventions[0]"
    return run(name, {"interventions": [intervention]}, path)


def zero(name: str, place: dict[str, Any], field: str) -> Case:
    """A Run that zeroes a place. `field` is within the place."""
    return edit(name, {"place": place, "zero": {}}, f"place.{field}")
