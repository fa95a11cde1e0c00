"""Several jobs at once, each driven by a thread of its own, while the main thread may be interrupted at any moment.

An interrupt raises an exception between two steps of the main thread, also within a lock's own code, which then stays locked;
a thread that needs the lock never ends. So signals are held back while a thread is started or a future is given out, and the
main thread waits on a queue that has no such lock.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from crashmatrix.scenarios.processes.interruption import ENDING_SIGNALS
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
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._pool = ThreadPoolExecutor(
            workers, initializer=signal.pthread_sigmask, initargs=(signal.SIG_SETMASK, before)
        )
        self._jobs, self._ended = jobs, SimpleQueue[tuple[Any, Future[R]]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: object) -> None:
        if kind is not None and not issubclass(kind, GeneratorExit):
            self._jobs.stop_all()
        self._pool.shutdown(cancel_futures=True)

    def submit(self, label: Any, function: Callable[..., R], *args: Any) -> None:
        """Call ``function(*args)`` in one of the threads, when one is free."""
        with _signals_held_back():
            self._pool.submit(function, *args).add_done_callback(partial(self._end, label))

    def next_ended(self) -> tuple[Any, R]:
        """Wait for the next call that ends, and return its label and its result. Raises what the call raised."""
        label, future = self._ended.get()
        return label, future.result()

    def _end(self, label: Any, future: Future[R]) -> None:
        self._ended.put((label, future))


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


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let a signal that ends the program wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
