"""What reading a stream is, whoever waits for the bytes: a thread or an event loop."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from scalpel import errors
from scalpel.calls import Question, StreamCall
from scalpel.connection import Attempts, Settings
from scalpel.progress import Progress

Event = TypeVar("Event")


class Reading(Generic[Event]):
    """The state of one stream: its attempts, what it brought, and whether it is over. The owner
    makes attempts, hands over each response, and takes events from `pending`."""

    def __init__(self, settings: Settings, call: StreamCall[Event, Any]):
        self.pending: deque[Event] = deque()
        self.over = False
        self.attempts = Attempts(settings, call.timeout, call.arguments)
        self._decoder = call.decoder()
        self._questions = call.questions
        self._begun = False
        self._progress = Progress() if call.progress else None

    def unasked(self) -> tuple[Question, ...]:
        """What is to be asked before the first attempt; nothing a second time."""
        asked, self._questions = self._questions, ()
        return asked

    def take(self, response: Any) -> None:
        """Takes the next response; None at the regular end. Raises ProtocolError."""
        if response is None:
            self._decoder.finish()
            self.end(complete=True)
            return
        self._begun = True
        with errors.reading_an_answer():
            events = list(self._decoder.decode(response))
            if self._progress is not None:
                self._progress.see(response)
        self.pending.extend(events)

    def pause(self, error: Any) -> float:
        """After an RPC's error: seconds to wait before the next attempt. Raises the exception for
        it where there is none: what was already handed over cannot be taken back."""
        return self.attempts.pause(error, final=self._begun or self.over)

    def end(self, complete: bool = False) -> None:
        """No more responses."""
        if self._progress is not None and not self.over:
            self._progress.close(complete)
        self.over = True
