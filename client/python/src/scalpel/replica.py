"""One server of several, and how it is called: from this process, or by an executor's workers."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from scalpel import calls, errors
from scalpel.arguments import Arguments
from scalpel.calls import Question
from scalpel.connection import Settings
from scalpel.errors import ReplicasDiffer
from scalpel.events import SweepEvent, Tokens
from scalpel.info import ModelInfo
from scalpel.model import Model, Stream
from scalpel.v1 import prompt_pb2

# What another server may do better.
ELSEWHERE = (
    errors.Unavailable,
    errors.QueueFull,
    errors.Cancelled,
    errors.AccessDenied,
    errors.ServerError,
    errors.ProtocolError,
)

# Tells who asks how to stop what is under way.
Began = Callable[[Callable[[], object]], None]


class Executor(Protocol):
    """Makes calls elsewhere: one of `concurrent.futures`, or what speaks like it, such as
    `dask.distributed.Client.get_executor()`
    or `RayExecutor`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Begins `fn(*args)`; returns its future."""


class Replica:
    """One server, and how it is called: from here, or by an executor."""

    def __init__(self, settings: Settings, executor: Executor | None):
        self.settings, self.executor = settings, executor
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._closed = False

    @property
    def address(self) -> str:
        return self.settings.address

    def info(self) -> ModelInfo:
        if self.executor is None:
            return self._connected().info
        made: ModelInfo = self.executor.submit(_info_elsewhere, self.settings).result()
        return made

    def tokens(self, question: Question) -> Sequence[Tokens]:
        """What the prompts of a question are."""
        if self.executor is None:
            return self._connected().read(question.call(None)).prompts
        asked = self.executor.submit(_tokens_elsewhere, self.settings, question.prompts)
        made: Sequence[Tokens] = asked.result()
        return made

    def ask(self, question: ChunkQuestion, began: Began) -> list[SweepEvent]:
        """The answer to a chunk, or to a validation."""
        if self.executor is not None:
            future = self.executor.submit(_ask_elsewhere, self.settings, question)
            began(future.cancel)
            made: list[SweepEvent] = future.result()
            return made
        stream = question.stream(self._connected())
        began(stream.close)
        with stream:
            return list(stream)

    def close(self) -> None:
        """Without the lock, which a thread holds as long as it tries to connect."""
        self._closed = True
        if self._model is not None:
            self._model.close()

    def _connected(self) -> Model:
        """Connects at the first call that succeeds: the server may come later than its client."""
        with self._lock:
            if self._model is None:
                self._model = Model(self.settings)
            if self._closed:
                self._model.close()
            return self._model


@dataclasses.dataclass(frozen=True)
class ChunkQuestion:
    """A chunk's call as data, so that it can be made in another process."""

    request: Any
    arguments: Arguments
    timeout: float | None
    request_id: str | None
    affinity: str
    weights: str

    def stream(self, model: Model) -> Stream[SweepEvent]:
        """The call, if the server still holds the weights: it may be another since."""
        info = model.get_info(timeout=self.timeout)
        check_weights(self.weights, info, model.settings.address)
        call = calls.sweep_request(self.request, timeout=self.timeout, request_id=self.request_id)
        return Stream(
            model, dataclasses.replace(call, arguments=self.arguments, affinity=self.affinity)
        )


def check_weights(expected: str, info: ModelInfo, where: str) -> None:
    """Answers of different weights must not come into one result."""
    if info.weights_sha256 != expected:
        raise ReplicasDiffer(
            f"{where} holds weights {info.weights_sha256[:16]}, another server {expected[:16]}; "
            "answers of different weights do not belong together"
        )


@functools.lru_cache(maxsize=64)
def _connected_elsewhere(settings: Settings) -> Model:
    """A worker keeps its connections from chunk to chunk."""
    return Model(settings)


def _info_elsewhere(settings: Settings) -> ModelInfo:
    return _connected_elsewhere(settings).get_info()


def _tokens_elsewhere(
    settings: Settings, prompts: tuple[prompt_pb2.Prompt, ...]
) -> Sequence[Tokens]:
    question = Question(prompts, lambda tokens: None)
    return _connected_elsewhere(settings).read(question.call(None)).prompts


def _ask_elsewhere(settings: Settings, question: ChunkQuestion) -> list[SweepEvent]:
    with question.stream(_connected_elsewhere(settings)) as stream:
        return list(stream)
