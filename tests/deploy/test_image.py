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


def lines_of(stage: str, kinds: str) -> list[str]:
    """The instructions of a stage that are of these kinds, without its base's name."""
    (text,) = re.findall(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    joined = re.sub(r" *\\\n +", " ", text)
    lines = re.findall(rf"^(?:{kinds}) .*$", joined, re.M)
    return sorted(re.sub(r'base\.name="\S+"', "", line) for line in lines)


def test_the_image_with_a_newer_grpc_is_built_and_run_as_the_other():
    kinds = "ENV|LABEL|WORKDIR|EXPOSE|HEALTHCHECK|STOPSIGNAL|USER|ENTRYPOINT"
    assert len(lines_of("current", kinds)) == 8
    others = lines_of("libraries", kinds) + lines_of("runtime", kinds)
    assert lines_of("current", kinds) == sorted(others)
    assert len(lines_of("current-build", "ARG|RUN")) == 3
    assert lines_of("current-build", "ARG|RUN") == lines_of("build", "ARG|RUN")
    assert set(lines_of("build", "COPY")) < set(lines_of("current-build", "COPY"))


def pinned(kind: str) -> dict[str, str]:
    """The packages that the image with a newer gRPC takes by their digests, and their versions."""
    text = (DEPLOY / f"packages-current-{kind}.sha256").read_text()
    found = re.findall(r"^[0-9a-f]{64}  ([^_\n]+)_([^_\n]+)_amd64\.deb$", text, re.M)
    assert len(dict(found)) == len(text.splitlines()) > 8
    return dict(found)


def test_what_is_of_newer_suites_is_pinned():
    """All that is built with by that name, and of the same versions as what runs."""
    build, runtime = pinned("build"), pinned("runtime")
    newer = re.compile(r"lib(absl|grpc|proto|re2|upb|utf8)|protobuf-")
    assert all(map(newer.match, [*build, *runtime]))
    assert not set(build) & set(runtime)
    assert set(build.values()) == set(runtime.values())
    by_name = (DEPLOY / "packages-build.txt").read_text().split()
    by_name += (DEPLOY / "packages-current-runtime.txt").read_text().split()
    assert {name for name in by_name if newer.match(name)} <= set(build)


def test_the_image_with_a_newer_grpc_has_the_libraries_of_the_other():
    """Their names end in versions, and since Debian 13 in `t64` for a changed interface."""

    def libraries(names: list[str]) -> set[str]:
        return {re.sub(r"[\d.]+(t64)?$", "", name) for name in names}

    current = (DEPLOY / "packages-current-runtime.txt").read_text().split()
    others = libraries((DEPLOY / "packages-runtime.txt").read_text().split())
    assert len(others) > 9 and others <= libraries([*current, *pinned("runtime")])


def test_the_image_and_compose_ask_for_health_in_the_same_way():
    (check,) = set(re.findall(r'^HEALTHCHECK .*CMD (\["scalpel-server".*\])$', DOCKERFILE, re.M))
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
