"""Small random choices."""

from typing import Any

import numpy as np


class Choices:
    """Made by one generator of numbers."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def number(self, low: float, high: float) -> float:
        """A number that float32 holds, so that both sides mean the same."""
        return float(np.float32(self.rng.uniform(low, high)))

    def numbers(self, shape: tuple[int, ...]) -> list:
        return self.rng.normal(size=shape).astype(np.float32).tolist()

    def some(self, size: int, count: int | None = None) -> list[int]:
        """Different indices below `size`, in any order, some from the end."""
        count = count or self.whole(1, min(size, 5))
        found = self.rng.choice(size, size=count, replace=False).tolist()
        return [i - size if self.chance(0.4) else i for i in found]
