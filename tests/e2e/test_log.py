"""What the log says of calls: who, how long, which trace; and nothing of the prompts."""

import json
import re
from typing import Any

from tests.e2e import grpcurl
from tests.e2e.insight import METRICS, PROMPT, call_line, json_lines, scrape, wait_for
from tests.support.server import Server, run_server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_every_line_is_an_object_and_holds_no_prompt(watched):
    secret = "Nobody may read this prompt"
    options = ["-H", "x-request-id: of-a-secret"]
    request = {
        "prompts": [{"text": secret}],
        "interventions": [{"place": {"path": secret}, "zero": {}}],
    }
    assert grpcurl.call(watched.address, "Run", request, options=options).code == 3
    grpcurl.call(watched.address, "Tokenize", {"text": secret}, options=options)
    line = call_line_of(watched, "of-a-secret", "Run")
    assert line["code"] == "INVALID_ARGUMENT" and line["reason"] == "invalid"
    assert line["level"] == "info" and line["caller"] == "anonymous"
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    assert line["total_us"] > 0 and line["tokens"] == 0
    for line in json_lines(watched):
        assert {"time", "level", "message"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert "Nobody" not in watched.log()


def call_line_of(server: Server, request_id: str, method: str) -> dict[str, Any]:
    def find() -> list[dict[str, Any]]:
        lines = json_lines(server)
        return [
            line
            for line in lines
            if line.get("request") == request_id and line.get("method") == method
        ]

    return wait_for(find)[0]


def test_a_run_is_logged_with_what_it_took(watched):
    options = ["-H", "x-request-id: took"]
    (*_, last) = grpcurl.call(watched.address, "Run", PROMPT, options=options).messages
    line = call_line(watched, "took")
    assert line["compute_us"] == int(last["finished"]["compute_us"])
    assert line["tokens"] == int(last["finished"]["tokens_computed"])
    assert line["total_us"] >= line["queue_us"] + line["compute_us"] > 0
    assert line["response_bytes"] > 100


def test_a_trace_goes_on(watched):
    options = ["-H", "x-request-id: traced", "-H", f"traceparent: 00-{TRACE}-{SPAN}-01"]
    grpcurl.call(watched.address, "GetModel", options=options)
    line = call_line(watched, "traced")
    assert (line["trace_id"], line["parent_span_id"]) == (TRACE, SPAN)
    assert re.fullmatch("[0-9a-f]{16}", line["span_id"]) and line["span_id"] != SPAN


def test_a_malformed_trace_is_as_good_as_none(watched):
    options = ["-H", "x-request-id: untraced", "-H", f"traceparent: 00-{TRACE.upper()}-{SPAN}-01"]
    grpcurl.call(watched.address, "GetModel", options=options)
    line = call_line(watched, "untraced")
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"]) and line["trace_id"] != TRACE
    assert "parent_span_id" not in line


def test_a_slow_call_is_a_warning(start_server):
    server = start_server("--slow-call-ms", "1", "--log-format", "json", *METRICS)
    options = ["-H", "x-request-id: slow"]
    request = {"prompts": [{"text": "word " * 200}]}
    assert grpcurl.call(server.address, "Run", request, options=options).code == 0
    line = call_line(server, "slow", message="slow call")
    assert line["level"] == "warning" and line["total_us"] > 1000
    assert call_line(server, "slow")["level"] == "info"
    assert scrape(server)['scalpel_slow_calls_total{method="Run"}'] == 1


def test_a_server_that_cannot_start_says_so_in_json(tmp_path):
    done = run_server(
        "--model", str(tmp_path), "--listen", "127.0.0.1:0", "--log-format", "json"
    )  # fmt: skip
    assert done.returncode != 0
    *_, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert last["level"] == "critical" and "cannot load the model" in last["message"]


def test_the_log_is_text_unless_it_is_asked_for(server):
    options = ["-H", "x-request-id: plain"]
    grpcurl.call(server.address, "GetModel", options=options)
    find = re.compile(r" info request=plain method=GetModel caller=anonymous peer=\S+ code=OK .*")
    assert wait_for(lambda: find.search(server.log()))
