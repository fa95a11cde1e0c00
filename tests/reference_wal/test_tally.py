"""Counters: any thread adds, a reader sees them with the syncs of the logs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from crashmatrix.reference_wal.log.counters import LogCounters
from crashmatrix.reference_wal.tally import Counters, Tally


def test_nothing_yet() -> None:
    """A new tally is all zeros."""
    assert Tally().read([]) == Counters()


def test_many_threads() -> None:
    """No addition is lost, and each counter counts its own."""
    tally = Tally()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(400):
            pool.submit(tally.add, appends=1, append_bytes=10)
            pool.submit(tally.add, commits=2)
    found = asdict(tally.read([]))
    assert {name: number for name, number in found.items() if number} == {
        "appends": 400,
        "append_bytes": 4000,
        "commits": 800,
    }


def test_syncs_of_all_logs() -> None:
    """Syncs are those of the logs that are passed."""
    found = Tally().read(iter([LogCounters(syncs=3, sync_seconds=0.5), LogCounters(syncs=4, sync_seconds=0.25)]))
    assert (found.syncs, found.sync_seconds) == (7, 0.75)


def test_unknown_counter() -> None:
    """A misspelt counter is our mistake."""
    with pytest.raises(KeyError):
        Tally().add(apends=1)
