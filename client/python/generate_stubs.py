"""Generates the Python modules of the contract into `src/scalpel`: `python generate_stubs.py`.

`scalpel/v1` comes from `proto/scalpel/v1`. `scalpel/rpc` comes from `proto/google/rpc` under
another package name: the messages are the same on the wire, and they cannot clash with the modules
of googleapis-common-protos in the same process.
"""

from __future__ import annotations

import pathlib
import shutil
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
TARGET = HERE / "src"
OUTPUTS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def collect(proto: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Copies the sources into `folder` as the compiler shall see them; returns their names."""
    names = []
    for source in sorted((proto / "scalpel" / "v1").glob("*.proto")):
        names.append(f"scalpel/v1/{source.name}")
        _write(folder / names[-1], source.read_text("utf-8"))
    for source in sorted((proto / "google" / "rpc").glob("*.proto")):
        names.append(f"scalpel/rpc/{source.name}")
        text = source.read_text("utf-8").replace("package google.rpc;", "package scalpel.rpc;")
        _write(folder / names[-1], text)
    return names


def generate(target: pathlib.Path = TARGET) -> None:
    """Writes modules, type stubs and gRPC stubs."""
    import grpc_tools
    from grpc_tools import protoc

    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        sources, made = pathlib.Path(scratch, "proto"), pathlib.Path(scratch, "python")
        made.mkdir()
        names = collect(PROTO, sources)
        # No --grpc_python_out for scalpel/rpc: it has no service.
        arguments = ["protoc", f"-I{sources}", f"-I{well_known}", f"--python_out={made}"]
        arguments.append(f"--pyi_out={made}")
        if protoc.main([*arguments, *names]) != 0:
            raise RuntimeError("protoc failed; its messages stand above")
        service = [*arguments[:3], f"--grpc_python_out={made}", "scalpel/v1/service.proto"]
        if protoc.main(service) != 0:
            raise RuntimeError("protoc failed; its messages stand above")
        for pattern in OUTPUTS:
            for file in made.rglob(pattern):
                shutil.copyfile(file, target / file.relative_to(made))


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    generate()
