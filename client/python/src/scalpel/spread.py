"""Sweeps over several servers of one model: `scalpel.spread.connect([...])`.

>>> with scalpel.spread.connect(["gpu1:50051", "gpu2:50051"], tls=True, token=token) as replicas:
...     heads = replicas.sweep(prompt, zero("z"), over=["layers", "heads"], metrics=loss())

The variants are cut into chunks. Each server takes the next one when it has done its last, so the
fast do more; what a server that fails was at is done by another. The result is that of one server,
bit for bit where the servers compute alike (see the page on exactness).
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from scalpel import calls, chunks, connection, errors, request_parts
from scalpel.affinity import affinity
from scalpel.calls import Question, StreamCall
from scalpel.chunks import Chunk
from scalpel.errors import ScalpelError
from scalpel.events import SweepEvent, SweepStarted
from scalpel.info import ModelInfo
from scalpel.methods import SweepMethods
from scalpel.progress import VariantsDone
from scalpel.ray_executor import RayExecutor
from scalpel.replica import ELSEWHERE, Began, ChunkQuestion, Executor, Replica, check_weights
from scalpel.v1 import sweep_pb2
from scalpel.work import Work
from scalpel.worlds import Blocking

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from scalpel.connection import Options

__all__ = ["Executor", "RayExecutor", "Replicas", "connect"]

Result = TypeVar("Result")


@connection.shows_options
def connect(
    addresses: Sequence[str],
    *,
    executor: Executor | None = None,
    chunk: int | None = None,
    **options: Unpack[Options],
) -> Replicas:
    """Connects to several servers that hold the same weights.

    >>> replicas = scalpel.spread.connect(["gpu1:50051", "gpu2:50051"])

    addresses: of the servers, each as of `scalpel.connect`. One that is given twice, such as that
        of a load balancer, has two calls at a time, on connections of their own.
    executor: its workers make the calls, and must reach the addresses; left out, threads of this
        process do. What is sent to them includes the token.
    chunk: the most variants of one call; left out, as many as give each server eight.
    model, tls, token, allow_plaintext_token, timeout, retry, keepalive, metadata, options: as of
        `scalpel.connect`, the same for all servers. `timeout` is of a whole sweep; `retry` says too
        how often a server that fails is tried again.

    Returns `Replicas`. A server that does not answer is warned of, and tried again with each sweep.
    Raises `Unavailable` where none answers, `ReplicasDiffer` where two hold different weights, and
    otherwise as `scalpel.connect`.
    """
    if isinstance(addresses, str) or not addresses:
        raise ValueError("addresses: a list of at least one; for one server: scalpel.connect")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: {chunk} is less than one variant")
    own_connections = {"grpc.use_local_subchannel_pool": 1}
    options["options"] = {**own_connections, **(options.get("options") or {})}
    settings = [connection.settings(address, **options) for address in addresses]
    return Replicas([Replica(one, executor) for one in settings], chunk)


class Replicas(SweepMethods, Blocking):
    """Several servers of one model: made by `scalpel.spread.connect`. Its methods take and return
    what those of `Model` do. Thread-safe; close it, or use it in a `with` block."""

    info: ModelInfo
    """The served model."""

    def __init__(self, replicas: Sequence[Replica], chunk: int | None):
        self._replicas, self._chunk = replicas, chunk
        try:
            self.info = self._same_model()
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the servers."""
        return tuple(replica.address for replica in self._replicas)

    def close(self) -> None:
        """Closes the connections of this process; calls that are running are cancelled."""
        for replica in self._replicas:
            replica.close()

    def __repr__(self) -> str:
        return f"<Replicas of {self.info.name} at {', '.join(self.addresses)}>"

    def read(self, call: StreamCall[SweepEvent, Result]) -> Result:
        """Spreads a sweep of `scalpel.calls`, waits for all of it, and returns the result. What is
        only to be checked is checked by one server."""
        for question in call.questions:
            self._consider(question)
        seconds = self._replicas[0].settings.timeout if call.timeout is None else call.timeout
        asker = _Asker(call, self.info.weights_sha256, seconds)
        if call.request.validate_only:
            return call.result([self._validated(asker, call.request)])
        started = self._started(asker, call.request)
        size = self._chunk or chunks.size_for(started.variants, len(self._replicas))
        size = min(size, self.info.limits.max_variants)
        work = Work(chunks.split(call.request, started.normalized, size))
        progress = VariantsDone(started.variants) if call.progress else None
        lanes = [_Lane(replica, asker, work) for replica in self._replicas]
        for lane in lanes:
            threading.Thread(target=lane.run, daemon=True).start()
        try:
            work.wait(len(lanes), progress)
        except ScalpelError as error:
            error.partial = call.partial(chunks.join(started, work.answers))
            raise
        finally:
            work.close()
            for lane in lanes:
                lane.stop()
            if progress is not None:
                progress.close()
        return call.result(chunks.join(started, work.answers))

    def _started(self, asker: _Asker, request: sweep_pb2.SweepRequest) -> SweepStarted:
        """What the servers make of the whole, which may have more variants than one of them takes
        at once. Raises what is wrong with it."""
        most = self.info.limits.max_variants
        if chunks.count_at_most(request, self.info.config) > most:
            seen = [self._validated(asker, part) for part in chunks.samples(request, most)]
            started = chunks.outline(request, seen)
            if started.variants > most:
                return started
        return self._validated(asker, request)

    def _validated(self, asker: _Asker, request: sweep_pb2.SweepRequest) -> SweepStarted:
        """What a server makes of it."""
        checked = request_parts.copied(request)
        checked.validate_only = True
        (started,) = self._of_first(lambda replica: asker.ask(replica, Chunk(0, 0, checked)))
        assert isinstance(started, SweepStarted)
        return started

    def _consider(self, question: Question) -> None:
        """Asks a question of a call. Raises or warns as the answer says."""
        try:
            tokens = self._of_first(lambda replica: replica.tokens(question))
        except calls.SAID_BY_THE_CALL:
            return
        question.consider(tokens)

    def _of_first(self, ask: Callable[[Replica], Result]) -> Result:
        """The answer of the first server that has one."""
        failure: ScalpelError | None = None
        for replica in self._replicas:
            try:
                return ask(replica)
            except ELSEWHERE as error:
                failure = error
        assert failure is not None
        raise failure

    def _same_model(self) -> ModelInfo:
        with ThreadPoolExecutor(len(self._replicas)) as pool:
            found = list(pool.map(_info_or_failure, self._replicas))
        infos = [one for one in found if isinstance(one, ModelInfo)]
        for replica, failure in zip(self._replicas, found, strict=True):
            if not isinstance(failure, errors.Unavailable):
                continue
            if not infos:
                raise failure
            text = f"{replica.address} does not answer; the others do its share until it does"
            warnings.warn(text, RuntimeWarning, stacklevel=4)  # Of who calls `connect`.
        for other in infos:
            check_weights(infos[0].weights_sha256, other, "one of the servers")
        return infos[0]


class _Asker:
    """Asks servers for parts of one sweep, under its deadline."""

    def __init__(self, call: StreamCall[SweepEvent, Any], weights: str, seconds: float | None):
        self._call, self._weights = call, weights
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds; None: any time."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def ask(
        self, replica: Replica, chunk: Chunk, began: Began = lambda stop: None
    ) -> list[SweepEvent]:
        """A server's answer. Fields of a chunk are those of the whole, but for numbers of variants
        and values, which have been checked."""
        name = self._call.request_id and f"{self._call.request_id}.{chunk.first}"
        # Each chunk its own: a proxy would lead all calls on one prompt to the same server.
        together = f"{affinity(chunk.request)}.{chunk.first}"
        question = ChunkQuestion(
            chunk.request, self._call.arguments, self.left(), name, together, self._weights
        )
        return replica.ask(question, began)


class _Lane:
    """Has one server do chunk after chunk, until none is left."""

    def __init__(self, replica: Replica, asker: _Asker, work: Work):
        self._replica, self._asker, self._work = replica, asker, work
        self._lock = threading.Lock()
        self._stopped = False
        self._stop: Callable[[], object] = lambda: None

    def run(self) -> None:
        """The body of a thread."""
        failures, pause = 0, 0.0
        while (chunk := self._work.take(pause)) is not None:
            try:
                events = self._asker.ask(self._replica, chunk, self._began)
            except ELSEWHERE as error:
                failures += 1
                self._work.give_back(chunk)
                again = self._pause(error, failures)
                if again is None:
                    self._work.leave(error)
                    return
                pause = again
            except BaseException as error:
                self._work.fail(error)
                return
            else:
                failures, pause = 0, 0.0
                self._work.done(chunk, events)

    def _pause(self, error: ScalpelError, failures: int) -> float | None:
        """As `Retry` says. An answer that broke off is no reason to leave: a proxy has another
        server, and the chunk another taker."""
        if isinstance(error, (errors.ServerError, errors.ProtocolError)):
            error = errors.Unavailable()
        return self._replica.settings.retry.pause(error, failures, self._asker.left())

    def stop(self) -> None:
        """Cancels what is under way. Thread-safe."""
        with self._lock:
            self._stopped = True
            self._stop()

    def _began(self, stop: Callable[[], object]) -> None:
        with self._lock:
            self._stop = stop
            if self._stopped:
                stop()


def _info_or_failure(replica: Replica) -> ModelInfo | errors.Unavailable:
    try:
        return replica.info()
    except errors.Unavailable as error:
        return error
