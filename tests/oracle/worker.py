"""One process of several: makes specs by their seeds, asks the server, and compares."""

import collections
import dataclasses
import os
import pathlib
import pprint
import traceback

import numpy as np

from tests.oracle import compare, interpret, random_specs, requests, weights
from tests.oracle.sites import Refused
from tests.support.client import Client

# Of these the oracle also runs the prompts without edits, to see whether the edits do anything.
_EVERY = 4
# Logits that edits moved have moved by at least this share of the largest.
_MOVED = 1e-3


@dataclasses.dataclass
class Verdict:
    """What came of one seed."""

    seed: int
    wrong: list[str] = dataclasses.field(default_factory=list)
    refused: bool = False
    moved: bool | None = None  # None: not looked at.
    # Largest difference, by its scale, by (group, name).
    largest: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    # Names by which something was edited, and by which something was looked at.
    edited: set[str] = dataclasses.field(default_factory=set)
    looked_at: set[str] = dataclasses.field(default_factory=set)
    spec: str = ""  # Of one that went wrong.


class Worker:
    """A model, a client and the names that are served. `faulty`: share of specs without meaning."""

    def __init__(self, address: str, folder: pathlib.Path, faulty: float):
        self.client = Client(address)
        self.model = weights.read_model(folder)
        self.names = requests.served_names(self.client)
        self.faulty = faulty

    def check(self, seed: int) -> Verdict:
        making = random_specs.Generator(self.model, self.names, seed)
        spec, verdict = making.spec(self.faulty), Verdict(seed)
        try:
            self._check(spec, verdict)
            verdict.edited = making.names_of(spec["edits"])
            verdict.looked_at = making.names_of(spec["captures"] + spec["probes"])
        except Exception:
            verdict.wrong.append(traceback.format_exc())
        if verdict.wrong:
            verdict.spec = pprint.pformat(_shortened(spec), width=100, compact=True)
        return verdict

    def _check(self, spec: dict, verdict: Verdict) -> None:
        got = requests.ask(self.client, spec)
        try:
            want = interpret.answer(self.model, spec)
        except Refused as refused:
            verdict.refused = True
            if not requests.is_refusal(got):
                outcome = got if requests.is_error(got) else "answered"
                verdict.wrong.append(f"has no meaning ({refused}), and yet it was {outcome}")
            return
        if not isinstance(got, dict):
            verdict.wrong.append(f"was not answered: {got}")
            return
        compared = compare.Comparison(want, got)
        verdict.wrong += compared.wrong + compare.check_token_lists(spec, want, got)
        self._note(spec, verdict, compared.differences)
        if verdict.seed % _EVERY == 0:
            verdict.moved = self._moved(spec)

    def _note(self, spec: dict, verdict: Verdict, differences: list[compare.Difference]) -> None:
        operations = {edit["op"] for edit in spec["edits"]}
        largest: dict[tuple[str, str], float] = collections.defaultdict(float)
        for difference in differences:
            if difference.plain:
                groups = [("site", difference.site)]
                groups += [("operation", name) for name in operations]
                for group in groups:
                    largest[group] = max(largest[group], difference.relative)
        verdict.largest = dict(largest)

    def _moved(self, spec: dict) -> bool:
        """Whether the edits reach the logits of any prompt."""
        logits = {"full": True, "positions": {}}
        asked = {name: spec[name] for name in ("prompts", "seed", "edits") if name in spec}
        found = interpret.answer(self.model, {**asked, "logits": logits, "include_clean_run": True})
        for prompt in range(len(spec["prompts"])):
            edited = found["logits", prompt, False].value
            clean = found["logits", prompt, True].value
            if abs(edited - clean).max() > _MOVED * abs(clean).max():
                return True
        return False


def _shortened(spec: dict) -> dict:
    """Without long operands: the seed makes them again."""
    edits = []
    for edit in spec["edits"]:
        long = [name for name in ("value", "direction") if np.size(edit.get(name)) > 12]
        edits.append(edit | {name: f"of shape {np.shape(edit[name])}" for name in long})
    return spec | {"edits": edits}


_worker: Worker | None = None


def start(address: str, folder: pathlib.Path, faulty: float) -> None:
    """Called once in each process."""
    global _worker
    _worker = Worker(address, folder, faulty)


def check(seed: int) -> Verdict:
    assert _worker is not None
    return _worker.check(seed)


def threads_off() -> None:
    """Processes share the cores already; what is started after this has one thread each."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
