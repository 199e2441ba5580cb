"""Ray's workers as an executor, which Ray itself does not offer: for `scalpel.spread`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["RayExecutor"]


class RayExecutor:
    """Has workers of Ray make the calls of `scalpel.spread.connect`, each as a task.

    >>> executor = scalpel.spread.RayExecutor(num_cpus=0.1)
    >>> replicas = scalpel.spread.connect(["gpu1:50051", "gpu2:50051"], executor=executor)

    options: as of `ray.remote`. A call waits for its server most of the time, so `num_cpus` may be
        far below Ray's default of 1. A call whose worker dies is made again by another worker, as
        often as `max_retries` says.

    Uses the cluster that `ray.init` has connected to; without one, Ray starts its own.
    """

    def __init__(self, **options: Any):
        import ray

        self._task = ray.remote(**options)(_call) if options else ray.remote(_call)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> RayCall:
        """Begins `fn(*args)`; returns its future."""
        return RayCall(self._task.remote(fn, *args))


class RayCall:
    """A call that a worker of Ray makes."""

    def __init__(self, reference: Any):
        self._reference = reference
        self._ended = False

    def result(self) -> Any:
        """Waits for what the call returns. Raises what it raises."""
        import ray

        try:
            return ray.get(self._reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # Not as a class that Ray derives from its own and this.
        finally:
            self._ended = True

    def cancel(self) -> None:
        """Stops the call. Does nothing where it has ended."""
        import ray

        # Ray 2.60 aborts this process if told to cancel a task whose result it has just handed out.
        if not self._ended:
            ray.cancel(self._reference)


def _call(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)
