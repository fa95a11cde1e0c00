"""Stores to mapped files: each is a crash point, before it is done; the program does not notice."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.mapped_stores import STRETCH_MAX
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import store_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="stores are stopped before on x86_64 only"),
]


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.store_functions"]) as jobs:
        yield jobs


@pytest.mark.parametrize("name", do.PROGRAMS)
def test_stores(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """The file is as it was before each store; in between it has every state; it ends as it would have."""
    states, end, lacks = value(jobs.run(do.watch_stores, name, tmp_path, seconds_max=SECONDS))
    assert list(dict.fromkeys(states)) == do.STATES[name]
    assert end == do.ENDS[name]
    assert lacks == []


@pytest.mark.parametrize("name", do.UNSEEN)
def test_what_is_not_a_store_to_the_folder(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """Stores to other files, to private mappings and anonymous ones are no crash points, nor is reading."""
    states, _, lacks = value(jobs.run(do.watch_stores, name, tmp_path, seconds_max=SECONDS))
    assert (states, lacks) == ([], [])


@pytest.mark.parametrize("name", do.THREADED)
def test_threads_are_reported(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """Stores that cannot be stopped before are named, and the program works as ever."""
    _, end, lacks = value(jobs.run(do.watch_stores, name, tmp_path, seconds_max=SECONDS))
    assert end == b"ab"
    assert len(lacks) == 1
    assert "threads" in lacks[0]


def test_many_stores_in_a_row(jobs: Jobs, tmp_path: Path) -> None:
    """The first stores with no call between them count; after the next call, stores count anew."""
    counts = value(jobs.run(do.count_many, tmp_path, seconds_max=SECONDS))
    assert counts == (2 * STRETCH_MAX, 1)


def test_a_kill_at_a_store(jobs: Jobs, tmp_path: Path) -> None:
    """A process that is traced dies by the kill of its tree, and what it stored before is there."""
    assert value(jobs.run(do.kill_at_store, tmp_path, seconds_max=SECONDS)) == (b"a\0", -9)
