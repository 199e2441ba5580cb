"""The dashboard's queries and the alerts, by a real Prometheus that scrapes a real server."""

import json
import pathlib
import re
import subprocess
import time

import grpc
import pytest
import yaml

from tests.deploy.callers import run
from tests.deploy.edge import free_port
from tests.deploy.prometheus import CONFIGURATION, Prometheus, binary
from tests.support import environment
from tests.support.channel import open_channel
from tests.support.client import model_pb2, run_pb2, service_pb2_grpc
from tests.support.server import Server
from tests.support.tokens import TokenFile

OBSERVABILITY = environment.ROOT / "deploy" / "observability"
DASHBOARD = json.loads((OBSERVABILITY / "dashboards" / "scalpel.json").read_text())
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((CONFIGURATION / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}


def be_called(address: str, token: str) -> None:
    """Calls of each kind: new and known prompts, and one that is refused."""
    with open_channel(address, token) as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        for prompt in 2 * ["When Mary and John went to the store", "When Mary went"]:
            run(channel, prompt, affinity=None)
        stub.GetModel(model_pb2.GetModelRequest(), timeout=20)
        with pytest.raises(grpc.RpcError) as refusal:
            list(stub.Run(run_pb2.RunRequest(), timeout=20))
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Prometheus that has seen a server at rest, and then called."""
    metrics = f"127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("prometheus")
    tokens = TokenFile(folder / "tokens.json")
    token = tokens.add("alice", "runner")
    flags = ("--metrics-listen", metrics, "--tokens", str(tokens.path), "--threads", "1")
    with Server(*flags, "--baseline-cache-bytes", "100000000") as server:
        be_called(server.address, token)  # so that every series is there
        with Prometheus(folder, [metrics]) as prometheus:
            wait_for(prometheus, 'count_over_time(up{job="scalpel"}[1m]) > 1')
            be_called(server.address, token)
            seen = prometheus.query("sum(scalpel_calls_total)")[0]["value"][1]
            wait_for(prometheus, f"sum(scalpel_calls_total) > {seen}")
            yield prometheus


def wait_for(prometheus: Prometheus, expression: str) -> None:
    deadline = time.monotonic() + 30
    while not prometheus.query(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.2)


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_of_the_dashboard_has_an_answer(scraped, title):
    expression = QUERIES[title].replace("$__rate_interval", "1m")
    assert "$" not in expression
    answer = scraped.query(expression)
    assert answer, expression
    values = [float(series["value"][1]) for series in answer]
    # A method that nobody called has no quantile: NaN.
    assert any(value >= 0 for value in values) and not any(value < 0 for value in values)


def test_a_legend_names_labels_that_the_answer_has(scraped):
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            labels = set(_names_in_braces(target.get("legendFormat", "")))
            expression = target["expr"].replace("$__rate_interval", "1m")
            for series in scraped.query(expression):
                assert labels <= set(series["metric"]), (panel["title"], series["metric"])


def _names_in_braces(text: str) -> list[str]:
    return [part.split("}}")[0] for part in text.split("{{")[1:]]


def test_panels_do_not_overlap():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_alert_fires_on_a_server_that_is_well(scraped):
    rules = [rule for group in scraped.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    assert scraped.get("alerts")["alerts"] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_reads_metrics_that_the_server_has(scraped, name):
    metrics = set(re.findall(r"\b(?:scalpel|process)_[a-z_]+", ALERTS[name]["expr"]))
    for metric in metrics:
        assert scraped.query(metric), metric
    assert metrics or "up{" in ALERTS[name]["expr"]


def test_alerts_fire_when_they_should(tmp_path):
    """By Prometheus' own tool for it, on made-up series: alerts_test.yml says which and when."""
    test = pathlib.Path(__file__).with_name("alerts_test.yml")
    text = test.read_text().replace("ALERTS", str(CONFIGURATION / "alerts.yml"))
    assert {name for name in ALERTS if f"alertname: {name}\n" in text} == set(ALERTS)
    (tmp_path / "test.yml").write_text(text)
    done = subprocess.run(
        [binary("promtool"), "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_prometheus_own():
    command = [binary("promtool"), "check", "config", str(CONFIGURATION / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_dashboard_and_its_source():
    folder = OBSERVABILITY / "grafana"
    (source,) = _read(folder / "datasources" / "prometheus.yaml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    (provider,) = _read(folder / "dashboards" / "scalpel.yaml")["providers"]
    services = _read(environment.ROOT / "deploy" / "compose.yaml")["services"]
    mounts = {mount["target"]: mount["source"] for mount in services["grafana"]["volumes"]}
    assert mounts[provider["options"]["path"]] == "./observability/dashboards"
    assert "prometheus" in services and source["url"] == "http://prometheus:9090"


def _read(path: pathlib.Path) -> dict:
    return yaml.safe_load(path.read_text())
