"""A mutation run: each mutant of a sample is judged, several at a time, and its result stored at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from crashmatrix.scenarios.mutation.bounded import Stopped
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.results import Outcome, Tried

__all__ = ["Judge", "Results", "run_mutants"]

Judge = Callable[[SourceMutant, threading.Event], dict[str, Outcome]]
"""Judges a mutant; raises Stopped once the event is set."""


class Results(Protocol):
    """Remembers results: a `ResultsFile`, say."""

    def of(self, mutant: SourceMutant) -> Tried | None:
        """Return the result of an earlier run, if it counts for this mutant."""

    def add(self, mutant: SourceMutant, outcomes: dict[str, Outcome]) -> Tried:
        """Remember a result, durably."""


def run_mutants(
    mutants: Sequence[SourceMutant],
    judge: Judge,
    results: Results,
    *,
    workers: int,
    heard: Callable[[SourceMutant, Tried], None],
    stop: threading.Event,
) -> Mapping[str, Tried]:
    """Judge every mutant that has no result yet; returns the results by the mutant's id, as far as there are any.

    Args:
        heard: hears of each new result, in this thread.
        stop: once set, what runs is ended, and the results so far are returned. Set also by an exception in this thread.
    """
    known = {mutant.id: tried for mutant in mutants if (tried := results.of(mutant))}
    with ThreadPoolExecutor(workers, thread_name_prefix="crashmatrix-mutants") as pool:
        try:
            due = {pool.submit(judge, mutant, stop): mutant for mutant in mutants if mutant.id not in known}
            for future in as_completed(due):
                try:
                    outcomes = future.result()
                except Stopped:
                    continue
                mutant = due[future]
                known[mutant.id] = results.add(mutant, outcomes)
                heard(mutant, known[mutant.id])
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return known
