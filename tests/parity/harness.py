"""One model on both sides: a server process and the twin; and the record of how far apart they
were."""

import collections
import dataclasses
import functools
import json
import pathlib

import numpy as np
import torch

from tests.parity import answer, places, twin
from tests.support import environment
from tests.support.client import Client, RunResult, make_request
from tests.support.server import Server


@dataclasses.dataclass
class Worst:
    """The largest difference seen in a group."""

    relative: float = 0.0
    count: int = 0
    key: str = ""

    def add(self, difference: answer.Difference, label: str) -> None:
        self.count += 1
        if difference.relative > self.relative or not self.key:
            self.relative, self.key = difference.relative, f"{label}: {difference.key}"


class Record:
    """The largest differences of a test session, by site, by operation and by model."""

    def __init__(self):
        self.groups: dict[str, dict[str, Worst]] = collections.defaultdict(
            lambda: collections.defaultdict(Worst)
        )
        self.figures: dict[str, float] = {}
        self.amplified: list[str] = []

    def add(
        self, difference: answer.Difference, model: str, operations: set[str], label: str
    ) -> None:
        label = f"{model}, {label}"
        if difference.kind in ("ids", "counts"):
            return
        self.groups["model"][model].add(difference, label)
        self.groups["kind"][difference.kind].add(difference, label)
        if difference.kind in ("capture", "logits"):
            self.groups["site"][difference.site].add(difference, label)
            for operation in operations or {"(none)"}:
                self.groups["operation"][operation].add(difference, label)

    def figure(self, name: str, value: float) -> None:
        """Notes the largest value of a named figure."""
        self.figures[name] = max(value, self.figures.get(name, 0.0))

    def lines(self) -> list[str]:
        lines = [f"{name}: {value:.3g}" for name, value in sorted(self.figures.items())]
        for group, entries in self.groups.items():
            lines.append(f"largest relative difference by {group}")
            lines += [
                f"  {name:<22} {worst.relative:9.2e}  of {worst.count:6}  {worst.key[:90]}"
                for name, worst in sorted(entries.items())
            ]
        if self.amplified:
            lines.append(
                f"{len(self.amplified)} numbers where an edit amplifies rounding beyond the "
                "tolerance, in HuggingFace no less than in the server (by a float64 twin):"
            )
            lines += [f"  {line}" for line in self.amplified]
        return lines

    def write(self, path: pathlib.Path) -> None:
        groups = {
            group: {name: dataclasses.asdict(worst) for name, worst in entries.items()}
            for group, entries in self.groups.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"figures": self.figures, "amplified": self.amplified, **groups}, indent=1)
        )


record = Record()


class Parity:
    """A model folder, served and twinned."""

    def __init__(self, name: str, folder: pathlib.Path):
        self.name, self.folder = name, folder
        self.model = twin.load(folder)
        self.shape = places.shape_of_config(self.model.config)
        self.server = Server(model=folder).start()
        self.client = Client(self.server.address)

    def close(self) -> None:
        self.client.close()
        self.server.stop()

    def __enter__(self) -> "Parity":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @functools.cached_property
    def double_model(self):
        return twin.load(self.folder, torch.float64)

    def twin(self, request, tokens: list[list[int]]) -> answer.Answer:
        """What HuggingFace answers."""
        return twin.answer(self.model, request, tokens)

    def check(self, request, label: str) -> tuple[answer.Answer, RunResult]:
        """Runs the request on both sides and compares everything that comes back."""
        request = make_request(request)
        result = self.client.run(request)
        want = self.twin(request, result.tokens)
        got = answer.of_result(result)
        differences = answer.compare(want, got)
        operations = {
            intervention.WhichOneof("operation") for intervention in request.interventions
        }
        for difference in differences:
            record.add(difference, self.name, operations, label)
        self._check_top_tokens(want, got, label)
        wrong = [difference for difference in differences if difference.excess > 1]
        if wrong:
            self._check_amplified(wrong, want, got, request, result.tokens, label)
        return want, result

    def _check_top_tokens(self, want, got, label: str) -> None:
        """The same top token at every position, unless two are as near as rounding."""
        for name, item in want.items():
            if item.kind != "logits" or not name.startswith("logits"):
                continue
            best = got[name].argmax(-1, keepdims=True)
            gap = item.value.max(-1) - np.take_along_axis(item.value, best, -1)[:, 0]
            assert gap.max() <= answer.ACTIVATION_TOLERANCE * item.scale, (
                f"{self.name}, {label}: {name}: another top token, {gap.max():.2e} below the top"
            )
            error = float(np.abs(item.value - got[name]).max())
            record.figure(f"{self.name}: logits, largest absolute difference", error)

    def _check_amplified(self, wrong, want, got, request, tokens, label: str) -> None:
        """An intervention can amplify rounding beyond the tolerance; then the server may be as far
        from the exact answer as HuggingFace itself is, twice over, but no farther."""
        exact = twin.answer(self.double_model, request, tokens)
        for difference in wrong:
            item = dataclasses.replace(exact[difference.key], allowed=want[difference.key].allowed)
            ours = answer.difference(difference.key, item, got[difference.key])
            theirs = answer.difference(difference.key, item, want[difference.key].value)
            message = (
                f"{self.name}, {label}: {difference.key}: {difference.relative:.2e} from "
                f"HuggingFace, "
                f"{difference.excess:.1f} times what is allowed; from float64 {ours.relative:.2e}, "
                f"where HuggingFace is {theirs.relative:.2e}"
            )
            assert ours.excess <= max(1.0, 2 * theirs.excess), message
            record.amplified.append(message)


def parity_file() -> pathlib.Path:
    return environment.BUILD / "parity.json"
