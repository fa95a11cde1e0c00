"""Waiting until nobody runs: for those who run, for those who are woken, and not for ever."""

from collections.abc import Iterator

from crashmatrix.scenarios.processes.calls.settling import Settling


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
    calls, running = iter([None, False, True, None, None]), looks()
    Settling().wait(lambda: next(running), lambda: next(calls))
    assert list(calls) == []


def test_a_thread_that_never_waits_is_left_alone() -> None:
    """After some waits in vain it is not waited for any more, until it was seen to sleep."""
    settling, looked = Settling(), 0

    def busy() -> set[int]:
        nonlocal looked
        looked += 1
        return {7}

    def looks_of_a_wait() -> int:
        before = looked
        settling.wait(busy, lambda: None)
        return looked - before

    waits = [looks_of_a_wait() for _ in range(5)]
    assert all(looks > 2 for looks in waits[:3])
    assert waits[3:] == [2, 2]
    settling.wait(set, lambda: None)
    assert looks_of_a_wait() > 2


def test_calls_without_end() -> None:
    """A thread that makes calls for ever that are no lines of the journal is not waited for without end."""
    Settling().wait(set, lambda: False)
