"""Several jobs at once, each driven by a thread of its own, while the main thread may be interrupted at any moment.

An interrupt raises an exception between any two steps of the main thread, even within `threading.Condition`, which then stays
locked. A thread that needs the same condition waits for ever, and the main thread for that thread. `concurrent.futures`,
`threading.Thread` and `threading.Event` are made of conditions. So the threads here share nothing with the main thread but
simple queues, which an interrupt leaves in order.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, Self, TypeVar, cast

from crashmatrix.scenarios.processes.jobs import Jobs

__all__ = ["Threads", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


class Threads(Generic[R]):
    """Threads that call functions, each call with a label. Use as a context manager: its end waits for the calls begun.

    Args:
        jobs: stopped by an exception or an interrupt in the block, so that no call waits for one of them.
        workers: how many threads there are.
    """

    def __init__(self, jobs: Jobs, workers: int) -> None:
        self._jobs, self._workers = jobs, workers
        self._calls = SimpleQueue[tuple[Any, Callable[..., R], tuple[Any, ...]] | None]()
        self._ended = SimpleQueue[tuple[Any, R | None, BaseException | None]]()
        self._threads_ended = SimpleQueue[None]()

    def __enter__(self) -> Self:
        for _ in range(self._workers):
            _thread.start_new_thread(self._work, ())
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: object) -> None:
        if kind is not None and not issubclass(kind, GeneratorExit):
            self._jobs.stop_all()
        self._forget_calls()
        for _ in range(self._workers):
            self._calls.put(None)
        for _ in range(self._workers):
            self._threads_ended.get()

    def submit(self, label: Any, function: Callable[..., R], *args: Any) -> None:
        """Call ``function(*args)`` in one of the threads, when one is free."""
        self._calls.put((label, function, args))

    def next_ended(self) -> tuple[Any, R]:
        """Wait for the next call that ends, and return its label and its result. Raises what the call raised."""
        label, result, error = self._ended.get()
        if error is not None:
            raise error
        return label, cast("R", result)

    def _forget_calls(self) -> None:
        try:
            while True:
                self._calls.get_nowait()
        except Empty:
            return

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            label, function, args = call
            try:
                self._ended.put((label, function(*args), None))
            except BaseException as error:
                self._ended.put((label, None, error))
        self._threads_ended.put(None)


def side_by_side(jobs: Jobs, workers: int, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of ``function``, in the order in which they end; ``workers`` run at a time.

    An exception or an interrupt stops the jobs too, not only the wait for them. A caller that stops iterating starts no more.
    """
    with Threads[R](jobs, workers) as threads:
        items = list(items)
        for item in items:
            threads.submit(item, function, item)
        for _ in items:
            yield threads.next_ended()
