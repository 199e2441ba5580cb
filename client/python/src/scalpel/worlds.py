"""The two worlds that clients live in: threads, where a call returns when its answer is there, and
event loops, where it is awaited."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Blocking:
    """Of threads: its calls block. A `with` block ends it."""

    def close(self) -> None:
        """Ends it, and what it has under way."""
        raise NotImplementedError

    def _leave(self) -> None:
        """At the end of the `with` block."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()


class Awaited:
    """Of event loops: its calls are awaited. An `async with` block ends it."""

    async def close(self) -> None:
        """Ends it, and what it has under way."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
