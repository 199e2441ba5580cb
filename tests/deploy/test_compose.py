"""The compose files as docker-compose understands them."""

import os
import pathlib
import re
import subprocess

import pytest
import yaml

from tests.deploy.settings import check_end, read_settings
from tests.support import environment

DEPLOY = environment.ROOT / "deploy"
SERVERS = ("scalpel", "scalpel-2")
OTHERS = ("edge", "prometheus", "grafana")


def resolve(*files: str, **variables: str) -> dict:
    """What docker-compose makes of the files; the variables are all that the shell says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCALPEL_")}
    command = ["docker-compose", "--profile", "edge", "--profile", "observability"]
    for file in files or ("compose.yaml",):
        command += ["-f", str(DEPLOY / file)]
    done = subprocess.run(
        [*command, "config"],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    services = yaml.safe_load(done.stdout)["services"]
    for service in services.values():
        service["volumes"].sort(key=lambda volume: volume["target"])  # an override reorders them
    return services


def seconds(text: str) -> int:
    return sum(
        int(number) * {"m": 60, "s": 1}[unit] for number, unit in re.findall(r"(\d+)([ms])", text)
    )


@pytest.fixture(scope="module")
def services() -> dict:
    return resolve()


def test_the_containers_may_do_little(services):
    assert set(services) == {*SERVERS, *OTHERS}
    for service in services.values():
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert not service["user"].startswith(("0:", "root"))
        assert all("noexec,nosuid,nodev" in mount for mount in service["tmpfs"])
        assert service["pids_limit"] > 0 and service["cpus"] > 0
        assert service["memswap_limit"] == service["mem_limit"]
        assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)
        bound = [volume for volume in service["volumes"] if volume["type"] == "bind"]
        assert bound and all(volume["read_only"] for volume in bound)


def test_all_ports_are_of_this_machine_alone(services):
    ports = {name: service.get("ports", []) for name, service in services.items()}
    assert ports == {
        "scalpel": ["127.0.0.1:50051:50051/tcp"],
        "scalpel-2": [],
        "edge": ["127.0.0.1:8443:8443/tcp"],
        "prometheus": ["127.0.0.1:9090:9090/tcp"],
        "grafana": ["127.0.0.1:3000:3000/tcp"],
    }


def test_what_is_not_built_here_has_a_version(services):
    for name in OTHERS[1:]:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", services[name]["image"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_told_what_its_container_has(services, name):
    service = services[name]
    settings = read_settings(service["environment"])
    assert float(settings["threads"]) == service["cpus"]
    assert "command" not in service  # all of it is in the environment, where --healthcheck finds it
    targets = {volume["target"] for volume in service["volumes"]}
    assert targets == {settings["model"], str(pathlib.PurePath(settings["tokens"]).parent)}
    check_end(settings, seconds(service["stop_grace_period"]))
    assert service["ulimits"]["nofile"] > 1000  # --max-connections
    # What compose publishes is where the server listens; the metrics it does not publish.
    assert settings["listen"] == "0.0.0.0:50051"
    assert settings["metrics-listen"] == "0.0.0.0:9464"


def test_variables(tmp_path):
    service = resolve(
        SCALPEL_MODEL_DIR=str(tmp_path),
        SCALPEL_MODEL_NAME="gpt2",
        SCALPEL_ACCESS_DIR=str(tmp_path / "access"),
        SCALPEL_CPUS="8",
        SCALPEL_MEMORY="12g",
        SCALPEL_PORT="50061",
    )["scalpel"]
    settings = read_settings(service["environment"])
    sources = {volume["target"]: volume["source"] for volume in service["volumes"]}
    assert sources == {"/model": str(tmp_path), "/etc/scalpel": str(tmp_path / "access")}
    assert settings["model-name"] == "gpt2" and settings["threads"] == "8"
    assert service["cpus"] == 8 and service["mem_limit"] == "12g"
    assert service["ports"] == ["127.0.0.1:50061:50051/tcp"]


def test_all_that_is_mounted_ships_but_what_an_operator_makes(services):
    sources = {
        pathlib.Path(volume["source"]).relative_to(DEPLOY).as_posix()
        for service in services.values()
        for volume in service["volumes"]
        if volume["type"] == "bind"
    }
    made = {"access", "edge/tls"}
    ignored = (environment.ROOT / ".gitignore").read_text().split()
    assert {f"/deploy/{name}/" for name in made} <= set(ignored)
    assert made < sources and all((DEPLOY / source).is_dir() for source in sources - made)


def test_the_gpu_is_the_only_difference(services):
    cpu, gpu = services["scalpel"], resolve("compose.yaml", "compose.gpu.yaml")["scalpel"]
    settings = read_settings(gpu["environment"])
    assert settings.pop("device") == "cuda"
    assert settings == read_settings(cpu["environment"])
    assert gpu["build"]["target"] == "gpu" and gpu["image"] != cpu["image"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"] and device["count"] == 1
    own = {"environment", "build", "image", "mem_limit", "memswap_limit", "deploy"}
    assert {key: gpu[key] for key in set(gpu) - own} == {key: cpu[key] for key in set(cpu) - own}


def test_the_edge_asks_the_servers_that_compose_starts(services):
    text = (DEPLOY / "edge" / "replicas" / "compose.conf").read_text()
    assert re.findall(r"^server (\S+):50051 ", text, re.MULTILINE) == list(SERVERS)
    assert set(services["edge"]["depends_on"]) == set(SERVERS)


def test_the_edge_has_room_for_what_nginx_is_told(services):
    text = (DEPLOY / "edge" / "nginx.conf").read_text()
    (workers,) = re.findall(r"^worker_processes (\S+);$", text, re.MULTILINE)
    (connections,) = re.findall(r"^  worker_connections (\d+);$", text, re.MULTILINE)
    assert float(workers) == services["edge"]["cpus"]
    assert services["edge"]["ulimits"]["nofile"] > int(connections)


def test_nobody_can_log_in_to_grafana(services):
    environment_of = services["grafana"]["environment"]
    assert environment_of["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment_of["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert "GF_AUTH_ANONYMOUS_ORG_ROLE" not in environment_of  # Viewer is Grafana's default


def test_prometheus_finds_the_servers_that_compose_starts(services):
    text = (DEPLOY / "observability" / "prometheus" / "prometheus.yml").read_text()
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    for name in SERVERS:
        assert services[name]["networks"]["default"]["aliases"] == found["names"]
        settings = read_settings(services[name]["environment"])
        assert settings["metrics-listen"] == f"0.0.0.0:{found['port']}"
