"""Who answers which case. Peers are loaded when first needed, and only where they are installed."""

import functools
import importlib.util
import pathlib
import subprocess
import sys

import torch

from tests.bench.measure import Entry, every_other
from tests.bench.peers.contestant import Contestant
from tests.bench.peers.generation import Generation
from tests.bench.peers.hooks import Hooks
from tests.bench.peers.remote import Remote
from tests.bench.peers.sweep import Sweep
from tests.bench.peers.tuned import Tuned
from tests.bench.workloads import Case
from tests.parity.places import ModelShape
from tests.support import environment

# By the name on the command line: the package that it needs.
PEERS = {
    "transformers": "transformers",
    "python-server": "grpc",
    "nnsight": "nnsight",
    "transformer-lens": "transformer_lens",
    "pyvene": "pyvene",
    "ctranslate2": "ctranslate2",
}
IN_PROCESS = ("nnsight", "transformer-lens", "pyvene")


def installed_peers() -> list[str]:
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package)]


class Contestants:
    """Of one model folder. `address` is Scalpel's; `peers` take part beside it and transformers."""

    def __init__(self, folder: pathlib.Path, shape: ModelShape, address: str, peers: list[str]):
        self.folder, self.shape, self.address = folder, shape, address
        self.peers = list(peers)
        self.python_server: PythonServer | None = None
        self.made: dict[str, Contestant] = {}

    @functools.cached_property
    def reference(self) -> Contestant:
        """With eager attention, as in the parity tests; no other has attention weights to show."""
        return Hooks("transformers, hooks", "idiom", self.folder, "eager")

    def entries(self, case: Case) -> list[Entry]:
        """In the order in which they take their turns."""
        match case.wants:
            case "last" | "all":
                return self._plain(case) + self._scalpel(Remote)
            case "top" if case.clients == 1:
                return self._libraries("tuned", *IN_PROCESS, "python-server") + self._scalpel(
                    Remote
                )
            case "sweep":
                return self._libraries("tuned", *IN_PROCESS) + self._scalpel(Sweep)
            case "std":
                return self._libraries("tuned", "nnsight", "transformer-lens") + self._scalpel(
                    Sweep
                )
            case "top":
                return self._concurrent()
            case "decode":
                return [*self._libraries("tuned"), Entry(self._get("generation"))]
            case "boundaries":
                return self._beside_plain(self._get("hooks"), self._get("scalpel"))
            case "states":
                found = [Entry(self.reference)]
                if "python-server" in self.peers:
                    found.append(Entry(self._get("python-server")))
                return found + self._scalpel(Remote)[:1]
        raise ValueError(f"nobody answers {case.wants!r}")

    def close(self) -> None:
        for contestant in self.made.values():
            contestant.close()
        if self.python_server:
            self.python_server.close()

    def _plain(self, case: Case) -> list[Entry]:
        names = ["ctranslate2"] + (["ctranslate2-generation"] if case.wants == "last" else [])
        return self._libraries("transformer-lens", *names)

    def _libraries(self, *names: str) -> list[Entry]:
        """Hooks on transformers, then those of the names that take part."""
        wanted = ["hooks"] + [
            name
            for name in names
            if name == "tuned" or name.removesuffix("-generation") in self.peers
        ]
        return [Entry(self._get(name)) for name in wanted]

    def _scalpel(self, kind: type) -> list[Entry]:
        """Asked what it has not seen, then the same again."""
        prefix = "sweep" if kind is Sweep else "scalpel"
        return [Entry(self._get(prefix)), Entry(self._get(f"{prefix}-seen"), seen=True)]

    def _beside_plain(self, *contestants: Contestant) -> list[Entry]:
        return [
            entry
            for one in contestants
            for entry in (
                Entry(one, part=every_other(0)),
                Entry(one, part=every_other(1, wants="top"), note=", not observing"),
            )
        ]

    def _concurrent(self) -> list[Entry]:
        everybody = self._libraries("python-server") + self._scalpel(Remote)[:1]
        of_one_spec = Entry(everybody[-1].contestant, note=", one spec for all")
        for entry in everybody:
            entry.part = every_other(0)
        of_one_spec.part = every_other(1)
        return [*everybody, of_one_spec]

    def _get(self, name: str) -> Contestant:
        if name not in self.made:
            self.made[name] = self._make(name)
        return self.made[name]

    def _make(self, name: str) -> Contestant:
        match name:
            case "hooks":
                return Hooks("transformers, hooks", "idiom", self.folder)
            case "tuned":
                return Tuned(self.folder)
            case "scalpel" | "scalpel-seen":
                return Remote(_scalpel_name(name), "scalpel", self.address, self.shape)
            case "generation":
                return Generation("Scalpel, Generate", "scalpel", self.address, self.shape)
            case "sweep" | "sweep-seen":
                return Sweep(_scalpel_name(name), self.address, self.shape)
            case "python-server":
                self.python_server = PythonServer(self.folder)
                return Remote(
                    "transformers behind grpcio", "server", self.python_server.address, self.shape
                )
            case "nnsight":
                from tests.bench.peers.nnsight import Traces

                return Traces(self.folder)
            case "transformer-lens":
                from tests.bench.peers.transformer_lens import Lens

                return Lens(self.folder)
            case "pyvene":
                from tests.bench.peers.pyvene import Intervenable

                return Intervenable(self.folder)
        from tests.bench.peers.ctranslate2 import Raw

        return Raw(self.folder, environment.scratch_dir(), name.endswith("generation"))


def _scalpel_name(name: str) -> str:
    return "Scalpel, prompt seen before" if name.endswith("-seen") else "Scalpel, new prompt"


class PythonServer:
    """The process of `python_server`."""

    def __init__(self, folder: pathlib.Path):
        threads = str(torch.get_num_threads())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.python_server", str(folder), threads],
            cwd=environment.ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        port = self.process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the Python server did not start")
        self.address = f"127.0.0.1:{port}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()
