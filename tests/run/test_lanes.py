"""Turns in the two lanes."""

import threading
import time

from tests.run.lanes import Lanes

_SECONDS = 10


class Suites:
    """Threads that take turns, and what they did."""

    def __init__(self, cores: int) -> None:
        self.lanes, self.done = Lanes(cores), list[str]()
        self.release = threading.Event()
        self._threads: list[threading.Thread] = []

    def hold(self, rank: int, patient: bool = False, processes: int = 1) -> None:
        """Starts one that keeps its turn until `release`."""

        def take() -> None:
            with self.lanes.turn(rank, patient, processes):
                self.done.append(f"begin {rank}")
                assert self.release.wait(_SECONDS)

        self._threads.append(threading.Thread(target=take))
        self._threads[-1].start()
        time.sleep(0.05)  # So that they ask in this order.

    def begun(self) -> list[str]:
        time.sleep(0.1)
        return list(self.done)

    def end(self) -> list[str]:
        self.release.set()
        for thread in self._threads:
            thread.join(_SECONDS)
        return self.done


def test_one_at_a_time_and_the_first_of_the_table_goes_first() -> None:
    suites = Suites(cores=8)
    for rank in (5, 9, 7, 6):
        suites.hold(rank)
    assert suites.begun() == ["begin 5"]
    assert suites.end() == ["begin 5", "begin 6", "begin 7", "begin 9"]


def test_as_many_patient_ones_as_cores() -> None:
    suites = Suites(cores=2)
    for rank in (1, 2, 3):
        suites.hold(rank, patient=True)
    suites.hold(4)
    assert suites.begun() == ["begin 1", "begin 2", "begin 4"]
    assert suites.end()[3:] == ["begin 3"]


def test_a_wide_one_is_not_overtaken() -> None:
    suites = Suites(cores=2)
    suites.hold(1, patient=True)
    suites.hold(2, patient=True, processes=2)
    suites.hold(3, patient=True)
    assert suites.begun() == ["begin 1"]
    assert suites.end() == ["begin 1", "begin 2", "begin 3"]


def test_one_that_is_wider_than_the_machine() -> None:
    suites = Suites(cores=1)
    suites.hold(1, patient=True, processes=2)
    assert suites.begun() == ["begin 1"]
    suites.end()
