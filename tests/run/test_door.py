"""./scalpel itself, in a copy of the repository where the programs that it calls only say so."""

import os
import pathlib
import shutil
import subprocess

import pytest

from tests.run import places

_FAKE_CMAKE = """#!/bin/sh
echo "cmake $*" >>"$CALLS"
while [ "$1" != -S ]; do shift; done
mkdir -p "$4" && touch "$4/build.ninja"
echo "CMAKE_HOME_DIRECTORY:INTERNAL=$2" >"$4/CMakeCache.txt"
"""
_FAKE_NINJA = '#!/bin/sh\necho "ninja $*" >>"$CALLS"\n'
_FAKE_DPKG = "#!/bin/sh\n" + "sed 's/^/ii  /' $LISTS\n"


class Clone:
    """A folder with ./scalpel, and what it called."""

    def __init__(self, folder: pathlib.Path, tools: pathlib.Path) -> None:
        self.folder, self._calls = folder, tools / "calls"
        self._variables = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "CALLS": str(self._calls),
            "LISTS": " ".join(map(str, folder.glob("deploy/packages-*.txt"))),
            "XDG_CACHE_HOME": str(tools),
        }

    def run(self, *arguments: str) -> list[str]:
        """The calls of CMake and ninja."""
        self._calls.write_text("")
        done = subprocess.run(
            [str(self.folder / "scalpel"), *arguments],
            env=self._variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return self._calls.read_text().splitlines()


@pytest.fixture
def tools(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "tools"
    (folder / "scalpel" / places.libtorch().name).mkdir(parents=True)
    (folder / "scalpel" / places.libtorch().name / ".complete-cpu").touch()
    for name, text in (("cmake", _FAKE_CMAKE), ("ninja", _FAKE_NINJA), ("dpkg-query", _FAKE_DPKG)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def clone(tmp_path: pathlib.Path, tools: pathlib.Path) -> Clone:
    folder = tmp_path / "clone"
    for name in ("proto", "server", "client/cpp", "tests/unit", "tests/bench/kernels", "deploy"):
        (folder / name).mkdir(parents=True)
    shutil.copy(places.SCALPEL, folder)
    (folder / "CMakeLists.txt").touch()
    for path in (places.ROOT / "deploy").glob("*.txt"):
        shutil.copy(path, folder / "deploy")
    return Clone(folder, tools)


def test_builds_once(clone: Clone) -> None:
    cmake, ninja = clone.run("build")
    assert f"-S {clone.folder} -B {clone.folder / 'build'} " in cmake
    assert ninja.endswith("scalpel-server scalpel-cli")
    assert clone.run("build") == []
    (clone.folder / "server" / "new.cc").touch()
    (ninja,) = clone.run("build")


def test_a_copy_of_a_clone_builds_its_own_sources(clone: Clone, tools: pathlib.Path) -> None:
    clone.run("build")
    copy = clone.folder.with_name("copy")
    shutil.copytree(clone.folder, copy)
    cmake, ninja = Clone(copy, tools).run("build")
    assert cmake.startswith("cmake --fresh ") and f"-S {copy} -B {copy / 'build'} " in cmake
    assert f"-C {copy / 'build'} " in ninja
    assert Clone(copy, tools).run("build") == []


def test_a_folder_that_builds_the_tests_goes_on_doing_so(clone: Clone) -> None:
    (cmake, _) = clone.run("build")
    assert "-DSCALPEL_TESTS=OFF" in cmake
    clone.run("build_in", str(clone.folder / "build"), "-DSCALPEL_TESTS=ON", "all")
    (ninja,) = clone.run("build")
    assert ninja.endswith("scalpel-server scalpel-cli")
