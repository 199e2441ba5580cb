"""The script that takes packages of newer suites, with an apt-get that has its own archive."""

import hashlib
import os
import pathlib
import subprocess

import pytest

from tests.support import environment

SCRIPT = environment.ROOT / "deploy" / "newer-packages.sh"
# Says what it is told, and copies what it is to download.
APT_GET = """#!/bin/bash
set -e
for option; do case "$option" in Dir::Etc::SourceParts=*) cat "${option#*=}"/* ;; esac; done
while [ "$1" != update ] && [ "$1" != download ]; do shift; done
if [ "$1" = update ]; then exit; fi
for name in "${@:2}"; do cp "$ARCHIVE/${name%%=*}_${name#*=}_amd64.deb" .; done
"""
PACKAGES = {"liba++-dev_1.2~git1-3+b1_amd64.deb": b"a", "libb2_20260526.0-2_amd64.deb": b"b"}


@pytest.fixture
def archive(tmp_path) -> pathlib.Path:
    folder = tmp_path / "archive"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(APT_GET)
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    folder.mkdir()
    for name, content in PACKAGES.items():
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / f"{name[3]}.sha256").write_text(f"{digest}  {name}\n")
    return folder


def download(archive: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """By relative paths, as in the Dockerfile."""
    folder = archive.parent
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "ARCHIVE": str(archive),
        "NEWER_MIRROR": "http://mirror.test/debian",
        "TMPDIR": str(folder),
    }
    command = [str(SCRIPT), "newer", "a.sha256", "b.sha256"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, env=variables, check=False
    )


def test_it_takes_what_the_lists_name(archive):
    done = download(archive)
    assert done.returncode == 0, done.stderr
    folder = archive.parent
    assert {path.name: path.read_bytes() for path in (folder / "newer").iterdir()} == PACKAGES
    assert "URIs: http://mirror.test/debian\nSuites: sid experimental\n" in done.stdout
    assert not list(folder.glob("tmp.*")), "it leaves apt's lists behind"


def test_another_digest_is_refused(archive):
    (archive / "libb2_20260526.0-2_amd64.deb").write_bytes(b"c")
    done = download(archive)
    assert done.returncode != 0
    assert "libb2_20260526.0-2_amd64.deb: FAILED" in done.stdout


def test_a_version_that_is_gone_is_refused(archive):
    (archive / "libb2_20260526.0-2_amd64.deb").rename(archive / "libb2_20260526.0-3_amd64.deb")
    assert download(archive).returncode != 0


def test_without_a_list_it_says_how_it_is_used():
    done = subprocess.run([str(SCRIPT), "newer"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and b"usage:" in done.stderr
