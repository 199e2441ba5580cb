"""GetStatus, by grpcurl and in a terminal."""

import json
import signal
import subprocess

from tests.e2e import grpcurl
from tests.e2e.insight import METHODS, PROMPT
from tests.support import environment


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
