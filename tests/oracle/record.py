"""What a session has seen, for its last tests and for the lines at its end."""

import collections

from tests.oracle.worker import Verdict


class Record:
    """Sums up verdicts."""

    def __init__(self):
        self.verdicts: dict[int, Verdict] = {}

    def add(self, verdict: Verdict) -> None:
        self.verdicts[verdict.seed] = verdict

    def refused(self) -> int:
        return sum(verdict.refused for verdict in self.verdicts.values())

    def moved(self) -> tuple[int, int]:
        """How many specs moved logits, of how many that were looked at."""
        looked = [v.moved for v in self.verdicts.values() if v.moved is not None]
        return sum(looked), len(looked)

    def edited(self) -> set[str]:
        return {name for verdict in self.verdicts.values() for name in verdict.edited}

    def looked_at(self) -> set[str]:
        return {name for verdict in self.verdicts.values() for name in verdict.looked_at}

    def lines(self) -> list[str]:
        """The largest differences by site and by operation, and in which spec."""
        worst: dict[tuple[str, str], tuple[float, int]] = collections.defaultdict(lambda: (0.0, -1))
        for seed, verdict in self.verdicts.items():
            for group, relative in verdict.largest.items():
                worst[group] = max(worst[group], (relative, seed))
        moved, looked = self.moved()
        lines = [
            f"{len(self.verdicts)} specs, {self.refused()} of them refused by both; edits moved "
            f"the logits in {moved} of {looked}",
            "largest difference, relative to the largest value of the tensor",
        ]
        for by in ("site", "operation"):
            lines.append(f"  by {by}")
            lines += [
                f"    {name:<12} {relative:8.1e}  seed {seed}"
                for (kind, name), (relative, seed) in sorted(worst.items())
                if kind == by
            ]
        return lines


record = Record()
