"""Waiting until nobody runs: for those who run, for those who are woken, and not for ever."""

import itertools
from collections.abc import Callable, Iterator

from crashmatrix.scenarios.processes.calls.settling import Passed, Settling


def looks(*sets: set[int]) -> Iterator[set[int]]:
    yield from sets
    while True:
        yield set()


def test_a_thread_that_runs_is_waited_for() -> None:
    """Until two looks in a row see nobody run."""
    seen = iter([{1}, set[int](), {1}, set[int](), set[int]()])
    Settling().wait(lambda: next(seen), lambda: None)
    assert next(seen, None) is None


def test_calls_are_dealt_with_first() -> None:
    """A call that comes between two looks means that somebody ran."""
    calls, running = iter([None, Passed(1, False), Passed(2, True), None, None]), looks()
    Settling().wait(lambda: next(running), lambda: next(calls))
    assert list(calls) == []


def looks_of_a_wait(settling: Settling, running: Callable[[], set[int]], call: Passed | None = None) -> int:
    looked = 0

    def look() -> set[int]:
        nonlocal looked
        looked += 1
        return running()

    settling.wait(look, lambda: call)
    return looked


def test_a_thread_that_never_waits_is_left_alone() -> None:
    """After some waits in vain it is not waited for any more, until it was seen to sleep."""
    settling = Settling()
    waits = [looks_of_a_wait(settling, lambda: {7}) for _ in range(4)]
    assert all(looks > 2 for looks in waits[:2])
    assert waits[2:] == [2, 2]
    settling.wait(set, lambda: None)
    assert looks_of_a_wait(settling, lambda: {7}) > 2


def test_a_thread_that_makes_calls_without_end() -> None:
    """Calls that are no lines of the journal, one after the other: asleep in them, or not, it is left alone, too."""
    settling, call = Settling(), Passed(7, False)
    for _ in range(2):
        settling.wait(set, lambda: call)
    assert looks_of_a_wait(settling, set, call) == 2
    assert looks_of_a_wait(settling, lambda: {7}, call) == 2


def test_threads_without_end() -> None:
    """Each runs once, so none is known to be late: a run waits in vain for so long, and then hardly at all."""
    settling, threads = Settling(), itertools.count()
    waits = [looks_of_a_wait(settling, lambda: {next(threads)}) for _ in range(12)]
    assert waits[0] > 4 * max(waits[6:])
