"""Several jobs at once, each driven by a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from crashmatrix.scenarios.processes.jobs import Jobs

__all__ = ["side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(jobs: Jobs, workers: int, function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of ``function``, in the order in which they end; ``workers`` run at a time.

    An exception or an interrupt stops the jobs too, not only the wait for them. A caller that stops iterating starts no more.
    """
    with ThreadPoolExecutor(workers) as pool:
        pending: dict[Future[R], tuple[int, T]] = {
            pool.submit(function, item): (number, item) for number, item in enumerate(items)
        }
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda each: pending[each][0]):
                    _, item = pending.pop(future)
                    yield item, future.result()
        except GeneratorExit:
            pool.shutdown(cancel_futures=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            jobs.stop_all()
            raise
