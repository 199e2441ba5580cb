"""The chunks of one sweep, shared out to whoever asks for the next: for `scalpel.spread`."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterable, Sequence

from scalpel.chunks import Chunk
from scalpel.events import SweepEvent
from scalpel.progress import VariantsDone


class Work:
    """What waits, what is under way, and what came. Thread-safe."""

    def __init__(self, chunks: Iterable[Chunk]):
        self._changed = threading.Condition()
        self._waiting = deque(chunks)
        self._under_way = 0
        self._left = 0  # Workers that gave up.
        self._closed = False
        # Why it must end, and why the last worker left.
        self._failure: BaseException | None = None
        self._last: BaseException | None = None
        self._answers: list[tuple[Chunk, Sequence[SweepEvent]]] = []

    @property
    def answers(self) -> list[tuple[Chunk, Sequence[SweepEvent]]]:
        """What came, in the order in which it came."""
        with self._changed:
            return list(self._answers)

    def take(self, pause: float = 0.0) -> Chunk | None:
        """The next chunk, after a pause, for a worker: it ends by `done`, `give_back` or `fail`.
        Waits where others may give theirs back. None: there is nothing left to do."""
        with self._changed:
            self._changed.wait_for(self._is_over, pause)
            self._changed.wait_for(lambda: self._waiting or self._is_over())
            if self._is_over():
                return None
            self._under_way += 1
            return self._waiting.popleft()

    def done(self, chunk: Chunk, events: Sequence[SweepEvent]) -> None:
        """The chunk is answered."""
        with self._changed:
            self._under_way -= 1
            self._answers.append((chunk, events))
            self._changed.notify_all()

    def give_back(self, chunk: Chunk) -> None:
        """The chunk is for another worker, or for another time."""
        with self._changed:
            self._under_way -= 1
            self._waiting.appendleft(chunk)
            self._changed.notify_all()

    def leave(self, reason: BaseException) -> None:
        """The worker does no more."""
        with self._changed:
            self._left += 1
            self._last = reason
            self._changed.notify_all()

    def fail(self, reason: BaseException) -> None:
        """No worker can do this chunk: all of it ends."""
        with self._changed:
            self._under_way -= 1
            self._failure = self._failure or reason
            self._changed.notify_all()

    def close(self) -> None:
        """No chunk is given out any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, workers: int, progress: VariantsDone | None = None) -> None:
        """Until all chunks are answered. Raises why they are not, where so many workers have left
        or one failed."""
        seen = 0
        with self._changed:
            while True:
                self._changed.wait_for(functools.partial(self._has_news, seen, workers))
                if progress is not None:
                    progress.add(sum(chunk.count for chunk, _ in self._answers[seen:]))
                seen = len(self._answers)
                if self._failure is not None:
                    raise self._failure
                if self._is_over():
                    return
                if self._left == workers:
                    assert self._last is not None
                    raise self._last

    def _has_news(self, seen: int, workers: int) -> bool:
        """Whether chunks beyond `seen` are answered, all workers have left, or it is over."""
        return len(self._answers) > seen or self._left == workers or self._is_over()

    def _is_over(self) -> bool:
        ended = self._closed or self._failure is not None
        return ended or not (self._waiting or self._under_way)
