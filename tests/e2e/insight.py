"""Reads what a server tells its operators: metrics, and a log of JSON."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.server import Server

METRICS = ("--metrics-listen", "127.0.0.1:0")
METHODS = {"GetModel", "Tokenize", "Detokenize", "Run", "Sweep", "Generate", "GetStatus"}
PROMPT = {"prompts": [{"text": "When Mary and John went to the store"}]}
_SERIES = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
Seen = TypeVar("Seen")


def scrape(server: Server) -> dict[str, float]:
    """Every series by its name and labels, such as `a_total{method="Run"}`."""
    url = re.search(r"http://127\.0\.0\.1:\d+/metrics", server.log())[0]
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = _SERIES.fullmatch(line).groups()
            labels = ",".join(sorted(labels.split(","))) if labels else ""
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found


def wait_for(look: Callable[[], Seen], seconds: float = 10) -> Seen:
    """What `look` returns, once it is true: a call's end is counted a little after it is seen."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return seen


def json_lines(server: Server) -> list[dict[str, Any]]:
    """The log of a server with --log-format json: every line is an object."""
    return [json.loads(line) for line in server.log().splitlines()]


def call_line(server: Server, request_id: str, message: str = "call") -> dict[str, Any]:
    """The line of a call by grpcurl, which also sends the id when it asks for reflection."""

    def find() -> list[dict[str, Any]]:
        return [
            line
            for line in json_lines(server)
            if line.get("request") == request_id
            and line["message"] == message
            and line["method"] in METHODS
        ]

    (line,) = wait_for(find)
    return line
