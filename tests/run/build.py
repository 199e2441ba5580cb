"""Compiles what the suites need, by ./scalpel, one variant after the other."""

import dataclasses
import threading
from collections.abc import Iterable
from concurrent.futures import Future

from tests.run import places, process
from tests.run.process import Stop
from tests.run.steps import Unprepared, say


@dataclasses.dataclass(frozen=True)
class Variant:
    """Targets of a build folder. An urgent one is compiled at normal priority: all wait for it."""

    folder: str
    option: str
    targets: tuple[str, ...]
    urgent: bool = False


SERVER = Variant("build", "-DSCALPEL_TESTS=ON", ("scalpel-server", "scalpel-cli"), urgent=True)
SAMPLER = Variant("build", "-DSCALPEL_TESTS=ON", ("sampler_tool",), urgent=True)
TESTS = Variant("build", "-DSCALPEL_TESTS=ON", ("all",))
SANITIZED = Variant("build-sanitize", "-DSCALPEL_SANITIZE=ON", ("unit_tests",))
FUZZ = Variant("build-fuzz", f"-C{places.ROOT}/tests/fuzz/clang.cmake", ("fuzz",))
THREADS = Variant("build-tsan", "-DSCALPEL_SANITIZE=thread", ("unit_tests",))
_ORDER = (SERVER, SAMPLER, TESTS, SANITIZED, THREADS, FUZZ)


class Builder:
    """A thread that compiles; others wait for what they need."""

    def __init__(self, stop: Stop, wanted: Iterable[Variant]) -> None:
        self._stop = stop
        chosen = set(wanted)
        self._built: dict[Variant, Future[None]] = {
            variant: Future() for variant in _ORDER if variant in chosen
        }
        self._thread = threading.Thread(target=self._compile_all)
        self._thread.start()

    def wait(self, variants: Iterable[Variant]) -> None:
        """Returns when they are built; raises Unprepared if one cannot be."""
        for variant in variants:
            self._built[variant].result()

    def _compile_all(self) -> None:
        for variant, built in self._built.items():
            try:
                for target in variant.targets:
                    self._compile(variant, target)
                built.set_result(None)
            except BaseException as error:  # For those who wait.
                built.set_exception(error)

    def _compile(self, variant: Variant, target: str) -> None:
        """Passes on what ./scalpel says while it builds."""
        nice = [] if variant.urgent else ["nice", "-n", "19"]
        folder = str(places.ROOT / variant.folder)
        command = [*nice, places.SCALPEL, "build_in", folder, variant.option, target]
        if process.run(command, say, self._stop) != 0:
            raise Unprepared(f"{variant.folder}: {target}")
