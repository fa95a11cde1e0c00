"""Writes cut short: each state is a prefix up to a page of the file, and the write is whole afterwards."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from crashmatrix.scenarios.processes.calls.long_writes import boundaries, halfway, limits_files
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import write_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

PAGE = os.sysconf("SC_PAGESIZE")
watched = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.write_functions"]) as jobs:
        yield jobs


@given(st.integers(0, 3 * PAGE), st.integers(0, 9 * PAGE))
def test_boundaries(offset: int, length: int) -> None:
    """A cut ends at a page of the file, inside the write; the first and the last such end are among the three at most."""
    found = boundaries(offset, length)
    every = [cut for cut in range(1, length) if (offset + cut) % PAGE == 0]
    assert len(found) == min(3, len(every))
    assert set(found) <= set(every)
    assert found[:1] + found[-1:] == every[:1] + every[-1:]


@pytest.mark.parametrize(
    "user", [None, pytest.param(65534, marks=pytest.mark.skipif(os.geteuid() != 0, reason="root"))]
)
@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, PAGE])
def test_a_limit_on_files_is_seen(user: int | None, limit: int) -> None:
    """It is seen of other users' processes, too: servers that refuse to run as root have such."""
    set_limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with subprocess.Popen(["sleep", "60"], user=user, preexec_fn=set_limit) as process:  # no threads
        try:
            assert limits_files(process.pid) == (limit == PAGE)
        finally:
            process.kill()


@watched
@pytest.mark.parametrize("name", do.WRITES)
def test_each_way_to_write(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """The file holds the prefix at each cut; then the call returns its length, and position and content are as ever."""
    states, told, expected = value(jobs.run(do.watch_write, name, tmp_path, seconds_max=SECONDS))
    before, *cuts = expected
    assert [content for content in states if content != before] == cuts
    assert told == do.undisturbed(name, tmp_path / "other")


@watched
@pytest.mark.parametrize("name", do.UNCUT)
def test_what_is_not_cut(jobs: Jobs, tmp_path: Path, name: str) -> None:
    """A write within a page, to a pipe, past O_DIRECT or under a limit of size is done by the kernel alone, as ever."""
    states, told, _ = value(jobs.run(do.watch_write, name, tmp_path, seconds_max=SECONDS))
    assert len(set(states)) <= 1
    assert told == do.undisturbed(name, tmp_path / "other")


@watched
def test_others_wait_until_the_write_is_whole(jobs: Jobs, tmp_path: Path) -> None:
    """Two processes append to one file: no record of one lies within a record of the other, as the kernel has it."""
    records = value(jobs.run(do.append_by_two, tmp_path, seconds_max=SECONDS))
    assert records == {"a" * do.RECORD: 8, "b" * do.RECORD: 8}


def test_a_real_kill_leaves_such_a_prefix(tmp_path: Path) -> None:
    """A SIGKILL during a long write leaves a prefix up to a page, or nothing, or all: never anything else."""
    size = 64 << 20
    for delay in (0.001, 0.004):
        path = tmp_path / "file"
        pid = os.fork()
        if pid == 0:
            file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.write(file, b"x" * size)
            os._exit(0)
        threading.Event().wait(delay)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        left = path.stat().st_size if path.exists() else 0
        assert left == size or left % PAGE == 0


@pytest.mark.parametrize(
    ("offset", "length", "half"),
    [(0, 9, 4), (0, 1024, 512), (500, 100, 12), (1192, 840, 344), (0, 512, 256), (511, 2, 1), (0, 4096, 2048)],
)
def test_halfway(offset: int, length: int, half: int) -> None:
    """A short write ends where a sector of the file ends, if it crosses one; else halfway."""
    assert halfway(offset, length) == half
