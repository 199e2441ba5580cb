"""The list of licences in SECURITY.md names all that the images are made of."""

import pathlib
import re

import pytest
import yaml

from tests.support import environment

DEPLOY = environment.ROOT / "deploy"
LISTED = set(re.findall(r"`([^`\n]+)`", (environment.ROOT / "SECURITY.md").read_text()))


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("packages-*runtime.*")))
def test_every_package_of_the_images_has_a_licence(path: pathlib.Path):
    names = re.findall(r"^(?:[0-9a-f]{64}  )?([^_\n]+)", path.read_text(), re.MULTILINE)
    assert len(names) > 7 and set(names) <= LISTED


def test_every_library_of_headers_has_a_licence():
    text = (environment.ROOT / "Dockerfile").read_text()
    (line,) = set(re.findall(r"dpkg-query -W .*\x27 ([\w -]+) >", text))
    assert line.split() and set(line.split()) <= LISTED


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("requirements-libtorch*.txt")))
def test_every_wheel_has_a_licence(path: pathlib.Path):
    names = re.findall(r"^([\w-]+)==", path.read_text(), re.MULTILINE)
    assert names and set(names) <= LISTED


def test_every_image_has_a_licence():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    images = {each["image"].split(":")[0] for each in services.values() if "build" not in each}
    assert {image for image in images if not image.startswith("$")} <= LISTED
