"""What operators see: metrics, log lines, traces, slow calls, GetStatus, and scalpel-cli top."""

import json
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import grpc
import pytest

from scalpel.v1 import service_pb2
from tests.e2e import grpcurl, heavy
from tests.support import certificates, environment
from tests.support.channel import open_channel
from tests.support.client import Client, make_request
from tests.support.server import Server, run_server
from tests.support.tokens import TokenFile

PROMPT = {"prompts": [{"text": "When Mary and John went to the store"}]}
METRICS = ("--metrics-listen", "127.0.0.1:0")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERIES = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
METHODS = {"GetModel", "Tokenize", "Detokenize", "Run", "Sweep", "GetStatus"}


@pytest.fixture(scope="module")
def watched(model_dir):
    """A server whose metrics are read, and whose log is JSON."""
    with Server(*METRICS, "--log-format", "json", model=model_dir) as running:
        yield running


def scrape(server):
    """Every series by its name and labels, such as `a_total{method="Run"}`."""
    url = re.search(r"http://127\.0\.0\.1:\d+/metrics", server.log())[0]
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SERIES.fullmatch(line).groups()
            labels = ",".join(sorted(labels.split(","))) if labels else ""
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found


def wait_for(look, seconds=10):
    """What `look` returns, once it is true: a call's end is counted a little after it is seen."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return seen


def json_lines(server):
    """The log of a server with --log-format json: every line is an object."""
    return [json.loads(line) for line in server.log().splitlines()]


def call_line(server, request_id, message="call"):
    """The line of a call by grpcurl, which also sends the id when it asks for reflection."""

    def find():
        return [
            line
            for line in json_lines(server)
            if line.get("request") == request_id
            and line["message"] == message
            and line["method"] in METHODS
        ]

    (line,) = wait_for(find)
    return line


# ---- metrics -------------------------------------------------------------------------------------


def test_metrics_move_with_calls(watched):
    before = scrape(watched)
    request = {**PROMPT, "captures": [{"place": {"site": "SITE_Z"}}]}
    assert grpcurl.call(watched.address, "Run", request).code == 0
    assert grpcurl.call(watched.address, "GetModel").code == 0

    ended = 'scalpel_calls_total{code="OK",method="Run"}'
    wait_for(lambda: scrape(watched)[ended] == before[ended] + 1)
    after = scrape(watched)
    moved = {name: after[name] - before.get(name, 0) for name in after}
    tokens = moved['scalpel_call_tokens_total{method="Run"}']
    assert tokens > 5
    assert moved["scalpel_engine_tokens_computed_total"] == tokens
    assert moved["scalpel_engine_tokens_total"] >= tokens
    assert moved["scalpel_engine_flops_total"] >= moved["scalpel_engine_flops_computed_total"] > 0
    assert moved["scalpel_engine_waves_total"] == moved["scalpel_engine_rows_total"] == 1
    assert moved["scalpel_engine_busy_seconds_total"] > 0
    for name in ("call", "call_queue", "call_compute"):
        assert moved[f'scalpel_{name}_duration_seconds_count{{method="Run"}}'] == 1
    assert moved['scalpel_calls_total{code="OK",method="GetModel"}'] == 1
    tensors = moved['scalpel_tensor_bytes_total{method="Run"}']
    assert 0 < tensors < moved['scalpel_response_bytes_total{method="Run"}']
    lookups = [value for name, value in moved.items() if name.startswith("scalpel_cache_lookups")]
    assert sum(lookups) == 1 and after["scalpel_cache_entries"] >= 1
    assert after['scalpel_calls_in_progress{method="Run"}'] == 0


def test_what_the_cache_knows_is_not_computed_again(watched):
    request = {"prompts": [{"text": "A prompt that nobody has sent yet, to this server at least"}]}
    grpcurl.call(watched.address, "Run", request)
    before = scrape(watched)
    grpcurl.call(watched.address, "Run", request)
    after = scrape(watched)
    name = "scalpel_engine_flops{}_total"
    whole, computed = (
        after[name.format(part)] - before[name.format(part)] for part in ("", "_computed")
    )
    assert computed < whole / 2
    assert after['scalpel_cache_lookups_total{result="hit"}'] > 0


def test_metrics_tell_the_build_and_the_process(watched):
    found = scrape(watched)
    (build,) = (name for name in found if name.startswith("scalpel_build_info"))
    assert 'device="cpu"' in build and re.search(r'version="\d', build)
    assert found["process_resident_memory_bytes"] > 1e6
    assert found["scalpel_memory_limit_bytes"] > found["process_resident_memory_bytes"]
    assert 0 < found["process_open_fds"] < found["process_max_fds"]
    assert abs(found["process_start_time_seconds"] - time.time()) < 3600
    with Client(watched.address) as client:
        client.model()
        assert scrape(watched)["scalpel_connections"] >= 1
    assert not [name for name in found if "caller" in name and "{reason=" not in name]


def secured(folder):
    """The flags of a server with TLS, and what its clients trust."""
    authority = certificates.Authority(folder, "ours")
    identity = authority.sign("server")
    flags = ("--tls-cert", str(identity.certificate), "--tls-key", str(identity.key))
    return flags, certificates.channel_credentials(authority)


def test_the_metrics_are_those_that_are_described(tmp_path):
    tokens = TokenFile(tmp_path / "tokens.json")
    flags, known = secured(tmp_path)
    with Server("--tokens", str(tokens.path), *flags, *METRICS, credentials=known) as server:
        found = scrape(server)
    text = (environment.ROOT / "server" / "insight" / "README.md").read_text()
    table = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    described = set(re.findall(r"`(\w+)`", table))
    exposed = {re.sub(r"(_(bucket|sum|count))?({.*)?$", "", name) for name in found}
    exposed = {name for name in exposed if not name.startswith("exposer_")}  # of the library itself
    assert exposed == described


def test_calls_under_way_are_shown(watched):
    with Client(watched.address) as client:
        call = client.stub.Run(make_request(heavy.endless()))
        next(iter(call))
        wait_for(lambda: scrape(watched)["scalpel_engine_running"] == 1)
        assert scrape(watched)['scalpel_calls_in_progress{method="Run"}'] == 1
        call.cancel()
    wait_for(lambda: scrape(watched)['scalpel_calls_in_progress{method="Run"}'] == 0)


def test_a_taken_metrics_port_ends_the_start(watched, model_dir):
    taken = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", watched.log())[1]
    listen = ("--listen", "127.0.0.1:0", "--metrics-listen", taken)
    done = run_server("--model", str(model_dir), *listen)
    assert done.returncode == 2
    assert f"--metrics-listen: cannot listen on {taken}: " in done.stderr


# ---- every reason --------------------------------------------------------------------------------


def rejections(server):
    found = scrape(server)
    return {
        name.split('"')[1]: value
        for name, value in found.items()
        if name.startswith("scalpel_rejections_total") and value
    }


def fill(server, count, **identity):
    """Calls that stay until they are cancelled."""
    client = Client(server.address, **identity)
    calls = [client.stub.Run(make_request(heavy.endless())) for _ in range(count)]
    return client, calls


def leave(client, calls):
    for call in calls:
        call.cancel()
    client.close()


def until_refused(server, reason):
    with Client(server.address) as client:

        def refused():
            try:
                client.run(PROMPT, timeout_seconds=0.5)
            except grpc.RpcError:
                pass
            return rejections(server).get(reason)

        wait_for(refused, seconds=20)


def test_a_full_queue_is_a_reason(start_server):
    server = start_server("--max-queue", "1", *METRICS)
    client, calls = fill(server, 4)
    until_refused(server, "queue_full")
    leave(client, calls)


def test_unread_responses_are_a_reason(start_server):
    limits = ("--max-response-bytes", "8000000", "--max-buffered-bytes", "8000000")
    server = start_server(*limits, *METRICS)
    client, calls = fill(server, 3)  # 4 MB each
    wait_for(lambda: rejections(server).get("buffered_bytes"))
    leave(client, calls)


def test_too_many_calls_of_one_caller_or_of_all_are_reasons(start_server):
    server = start_server("--max-calls-per-caller", "1", *METRICS)
    client, calls = fill(server, 1)
    next(iter(calls[0]))
    until_refused(server, "caller_calls")
    leave(client, calls)
    server = start_server("--max-calls", "1", *METRICS)
    client, calls = fill(server, 1)
    next(iter(calls[0]))
    until_refused(server, "calls_max")
    status = client.stub.GetStatus(service_pb2.GetStatusRequest(), timeout=10)
    assert {caller.name: caller.calls for caller in status.callers} == {"anonymous": 2}
    leave(client, calls)


def test_too_many_tokens_of_one_caller_are_a_reason(start_server):
    server = start_server("--max-tokens-per-second-per-caller", "1", *METRICS)
    for _ in range(3):
        grpcurl.call(server.address, "Run", {"prompts": [{"text": "word " * 100}]})
    assert rejections(server)["caller_rate"] >= 1


def test_refusals_of_the_gate_are_reasons(start_server, tmp_path):
    tokens = TokenFile(tmp_path / "tokens.json")
    reader = tokens.add("rita", "reader")
    server = start_server("--tokens", str(tokens.path), *METRICS)
    with Client(server.address) as nobody, pytest.raises(grpc.RpcError):
        nobody.model()
    bearer = ["-H", f"authorization: Bearer {reader}"]
    assert grpcurl.call(server.address, "Run", PROMPT, options=bearer).code == 7
    assert rejections(server).keys() == {"unauthenticated", "permission"}
    assert scrape(server)['scalpel_token_file_reloads_total{result="ok"}'] == 0
    tokens.add("ron", "runner")
    wait_for(lambda: scrape(server)['scalpel_token_file_reloads_total{result="ok"}'] == 1)
    assert reader not in server.log()


def test_changes_of_certificates_are_counted(tmp_path):
    flags, known = secured(tmp_path)
    failed = 'scalpel_certificate_reloads_total{result="failed"}'
    with Server(*flags, *METRICS, credentials=known) as server:
        assert scrape(server)[failed] == 0
        Path(flags[1]).write_text("nonsense")

        def noticed():
            with Client(server.address, credentials=known) as client:
                assert client.model()
            return scrape(server)[failed] == 1

        wait_for(noticed)


def test_what_can_never_succeed_is_a_reason(start_server):
    server = start_server("--max-response-bytes", "1048576", *METRICS)
    captures = [{"place": {"site": "SITE_MLP_POST"}}]
    request = {"prompts": [{"text": "word " * 100}], "captures": captures}
    assert grpcurl.call(server.address, "Run", request).code == 8
    assert grpcurl.call(server.address, "Run", {}).code == 3
    assert rejections(server) == {"response_too_large": 1, "invalid": 1}


def test_refused_connections_are_counted(start_server):
    server = start_server("--max-connections", "1", *METRICS)
    with open_channel(server.address) as first:
        grpc.channel_ready_future(first).result(10)
        with open_channel(server.address) as second:
            with pytest.raises(grpc.FutureTimeoutError):
                grpc.channel_ready_future(second).result(1)
        assert scrape(server)["scalpel_connections_refused_total"] >= 1


# ---- the log -------------------------------------------------------------------------------------


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


def call_line_of(server, request_id, method):
    def find():
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


# ---- GetStatus -----------------------------------------------------------------------------------


def test_status_by_grpcurl(watched):
    grpcurl.call(watched.address, "Run", PROMPT)
    (status,) = grpcurl.call(watched.address, "GetStatus").messages
    assert status["state"] == "SERVER_STATE_SERVING" and status["device"] == "cpu"
    methods = {method["method"]: method for method in status["methods"]}
    assert methods.keys() == METHODS
    assert int(methods["Run"]["ended"]) > 0 and methods["GetStatus"]["calls"] == "1"
    assert status["callers"] == [{"name": "anonymous", "calls": "1"}]
    assert int(status["engine"]["waves"]) > 0 and int(status["uptime_us"]) > 0
    assert int(status["memory"]["resident_bytes"]) < int(status["memory"]["limit_bytes"])
    assert int(status["connections"]) >= 1
    reasons = {entry["reason"] for entry in status["rejections"]}
    assert {"queue_full", "invalid", "connections"} <= reasons
    assert grpcurl.call(watched.address, "GetStatus", {"model": "another"}).code == 5


def test_status_and_top_in_a_terminal(watched):
    line = [str(environment.cli_binary()), "--server", watched.address]
    once = subprocess.run(
        [*line, "status"], capture_output=True, text=True, timeout=30, check=False
    )
    assert once.returncode == 0, once.stderr
    assert "serving" in once.stdout and "busy" in once.stdout and "GetStatus" in once.stdout
    with subprocess.Popen([*line, "top"], stdout=subprocess.PIPE, text=True) as process:
        seen = ""
        while seen.count("scalpel ") < 2:
            seen += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(5) == 0
    assert "\x1b" not in seen
    each = subprocess.run(
        [*line, "top", "--refreshes", "2", "--json"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    first, second = map(json.loads, each.stdout.splitlines())
    assert 0.5e6 < int(second["uptime_us"]) - int(first["uptime_us"]) < 10e6
