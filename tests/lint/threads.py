"""Holds the code to its thread annotations (ABSL_GUARDED_BY and the like), which are decoration to
GCC: clang's -Wthread-safety, over each file that uses a mutex. clang-tidy is used as the compiler,
because its wheel is the smallest of clang that carries its own headers."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.lint import sources

_USES = re.compile(r"\babsl::(?:Mutex|CondVar)|\bABSL_(?:GUARDED|PT_GUARDED|EXCLUSIVE|SHARED|LOCK)")
# They use the sanitizer's own header, which the wheel does not have, and guard nothing themselves.
_SANITIZERS = "tests/unit/support/tsan_"
_CHECKS = (
    "--quiet",
    # The first is cheap and never fires: clang-tidy wants a check of its own.
    "--checks=-*,portability-restrict-system-includes,clang-diagnostic-*",
    "--warnings-as-errors=*",
)


def files() -> list[str]:
    """The .cc files that use a mutex, by themselves or in their own header."""
    names = sources.of("C++")
    uses = {name for name in names if _USES.search(sources.read(name))}
    return [
        name
        for name in names
        if name.endswith(".cc")
        and not name.startswith(_SANITIZERS)
        and uses.intersection([name, name.removesuffix(".cc") + ".h"])
    ]


def _generate(folder: pathlib.Path) -> None:
    """The headers of proto/, as CMake has them made."""
    proto = sources.ROOT / "proto"
    plugin = "--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin"
    out = [f"--cpp_out={folder}", f"--grpc_out={folder}", plugin]
    names = [str(path.relative_to(proto)) for path in proto.rglob("*.proto")]
    subprocess.run(["protoc", "-I.", *out, *names], cwd=proto, check=True)


def main() -> int:
    tidy = pathlib.Path(os.environ["SCALPEL_LINT"]) / "clang-tidy"
    torch = pathlib.Path(os.environ["SCALPEL_LIBTORCH"]) / "torch" / "include"
    with tempfile.TemporaryDirectory() as made:
        proto = pathlib.Path(made) / "proto"
        proto.mkdir()
        _generate(proto)
        flags = ["-std=c++20", "-Wthread-safety", '-DSCALPEL_VERSION="0"', "-I.", f"-I{made}"]
        flags += [f"-I{proto}", "-idirafter", str(torch)]
        statuses = [
            subprocess.run([tidy, *_CHECKS, name, "--", *flags], cwd=sources.ROOT).returncode
            for name in files()
        ]
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main())
