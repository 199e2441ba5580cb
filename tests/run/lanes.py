"""Who runs when: two lanes, which README.md describes."""

import contextlib
import threading
from collections.abc import Iterator


class Lanes:
    """Hands out turns. In each lane the suite that stands first in the table goes first, of those
    that are ready."""

    def __init__(self, cores: int) -> None:
        self._free = {False: 1, True: cores}
        self._most = dict(self._free)
        self._waiting: dict[bool, list[int]] = {False: [], True: []}
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, rank: int, patient: bool, processes: int) -> Iterator[None]:
        """Waits for the lane, and holds `processes` places of it (all it has, if that is less)."""
        places = min(processes, self._most[patient])
        waiting = self._waiting[patient]
        with self._changed:
            waiting.append(rank)
            self._changed.wait_for(lambda: rank == min(waiting) and places <= self._free[patient])
            waiting.remove(rank)
            self._free[patient] -= places
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free[patient] += places
                self._changed.notify_all()
