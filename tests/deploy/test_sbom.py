"""The bill of materials, by the script that an image is built with, read by SPDX's own tools."""

import re
import subprocess

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tests.support import environment

DEPLOY = environment.ROOT / "deploy"
HEADERS = "librandom123-dev 1.14.0+dfsg-1 amd64\n"


def make(folder, requirements: str) -> str:
    (folder / "headers.txt").write_text(HEADERS)
    command = [str(DEPLOY / "sbom.sh"), str(DEPLOY / requirements), str(folder / "headers.txt")]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1000000000"},
    )
    return done.stdout


@pytest.mark.parametrize(
    "requirements", ["requirements-libtorch.txt", "requirements-libtorch-cuda.txt"]
)
def test_it_lists_what_is_there(tmp_path, requirements):
    text = make(tmp_path, requirements)
    path = tmp_path / "sbom.spdx.json"
    path.write_text(text)
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    versions = {package.name: package.version for package in document.packages}
    pinned = dict(re.findall(r"^(\S+)==(\S+) ", (DEPLOY / requirements).read_text(), re.MULTILINE))
    assert len(pinned) >= 3 and pinned.items() <= versions.items()
    libc = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "libc6"], check=True, capture_output=True
    ).stdout.decode()
    assert versions["libc6"] == libc
    assert versions["librandom123-dev"] == "1.14.0+dfsg-1"
    # Made twice, it is the same.
    assert make(tmp_path, requirements) == text


def test_a_purl_is_escaped(tmp_path):
    assert '"pkg:deb/debian/librandom123-dev@1.14.0%2Bdfsg-1?arch=amd64&distro=debian-12"' in make(
        tmp_path, "requirements-libtorch.txt"
    )
