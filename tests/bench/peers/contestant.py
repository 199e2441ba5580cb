"""What the suite asks of everybody who answers."""

import abc
import dataclasses
from typing import Any

from tests.bench.answers import Answer
from tests.bench.questions import Work


@dataclasses.dataclass(eq=False)
class Contestant(abc.ABC):
    """One way to answer. `name` is its line in the tables; `role` what it is compared as: "idiom",
    "tuned", "raw", "server", "scalpel" or "other"."""

    name: str
    role: str
    # Questions take the same time each, one after the other, so some of many are enough to time it.
    one_by_one = False

    @abc.abstractmethod
    def run(self, work: Work) -> Any:
        """Answers; timed. What it returns is passed on to the other two."""

    @abc.abstractmethod
    def answer(self, work: Work, reply: Any) -> Answer:
        """The reply in the common form; not timed."""

    def prepare(self, work: Work) -> None:
        """What a caller would have at hand before asking; not timed."""

    def figures(self, work: Work, reply: Any) -> dict[str, list[float]]:
        """Further measurements of the reply, by name."""
        return {}

    def close(self) -> None:
        """Ends what it started."""
