"""What the Dockerfile says, against the programs: it is built only where there is an engine."""

import json
import re
import subprocess

import pytest
import yaml

from tests.deploy.settings import known_flags, read_settings
from tests.support import environment
from tests.support.server import run_server

DOCKERFILE = (environment.ROOT / "Dockerfile").read_text()
DEPLOY = environment.ROOT / "deploy"


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def needed_packages(binary) -> set[str]:
    """The Debian packages of the libraries that a program loads, less those of libtorch."""
    names = re.findall(r"=> (/(?:usr/)?lib/\S+)", output_of("ldd", str(binary)))
    assert len(names) > 20
    found = output_of("dpkg-query", "-S", *{"*/" + name.rsplit("/", 1)[1] for name in names})
    owners = re.findall(r"^(\S+?):amd64: /(?:usr/)?lib/x86_64-linux-gnu/lib[^/]+$", found, re.M)
    return set(owners)


def installed_by(packages: list[str]) -> set[str]:
    """The packages, and all that they depend on."""
    no = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces")]
    text = output_of("apt-cache", "depends", "--recurse", "--no-enhances", *no, *packages)
    return set(re.findall(r"^(\w\S*)$", text, re.M))


@pytest.mark.parametrize("binary", [environment.server_binary(), environment.cli_binary()])
def test_the_image_has_every_library(binary):
    packages = (DEPLOY / "packages-runtime.txt").read_text().split()
    assert needed_packages(binary) <= installed_by(packages)


def test_the_default_settings_are_what_the_image_has():
    settings = read_settings(dict(re.findall(r"\b(SCALPEL_[A-Z_]+)=(\S+)", DOCKERFILE)))
    assert set(settings) == {"model", "listen"}  # others are for who runs it to say
    assert settings["listen"].startswith("0.0.0.0:")
    assert f"EXPOSE {settings['listen'].split(':')[1]}\n" in DOCKERFILE
    assert f"COPY deploy/demo-model {settings['model']}\n" in DOCKERFILE


def test_the_image_and_compose_ask_for_health_in_the_same_way():
    (check,) = re.findall(r'^HEALTHCHECK .*CMD (\["scalpel-server".*\])$', DOCKERFILE, re.M)
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["scalpel"]
    assert service["healthcheck"]["test"] == ["CMD", *json.loads(check)]
    assert json.loads(check)[1].removeprefix("--") in known_flags()


def test_the_health_check_is_the_servers_answer(server):
    """By the environment alone, as in a container."""
    for address, answer in ((server.address, 0), ("127.0.0.1:1", 1)):
        variables = {"SCALPEL_LISTEN": address, "SCALPEL_MODEL": "/model"}
        assert run_server("--healthcheck", env=variables).returncode == answer


def test_it_has_the_stages_that_compose_names():
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.M)
    for name in ("compose.yaml", "compose.gpu.yaml"):
        services = yaml.safe_load((DEPLOY / name).read_text())["services"]
        builds = [service["build"] for service in services.values() if "build" in service]
        assert builds and {build["target"] for build in builds} <= set(stages)
    # What a build makes that names no stage.
    assert stages[-1] == "runtime"


def test_the_version_is_that_of_the_program():
    version = output_of(str(environment.server_binary()), "--version").split()[-1]
    labels = re.findall(r'org\.opencontainers\.image\.version="(\S+)"', DOCKERFILE)
    assert labels and set(labels) == {version}
