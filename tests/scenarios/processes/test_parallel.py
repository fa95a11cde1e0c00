"""Side by side: every item comes with its result, and an error stops what still runs."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from crashmatrix.scenarios.errors import RunStopped
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult, Returned
from tests.scenarios import job_functions as do

SECONDS = 60.0


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.job_functions"]) as jobs:
        yield jobs


@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_with_its_result(jobs: Jobs, workers: int) -> None:
    """No item is lost, done twice or given another's result, with any number of workers."""

    def run(number: int) -> JobResult[int]:
        return jobs.run(do.give, number * 10, seconds_max=SECONDS)

    found = sorted(side_by_side(jobs, workers, run, range(6)), key=lambda pair: pair[0])
    assert found == [(number, Returned(number * 10)) for number in range(6)]


def test_no_items(jobs: Jobs) -> None:
    assert list(side_by_side(jobs, 2, str, [])) == []


def test_an_exception_stops_the_jobs(jobs: Jobs) -> None:
    """The job that would hang is killed as soon as another item fails, and no further job starts."""
    running, stopped = threading.Event(), list[str]()

    def run(name: str) -> None:
        if name == "fails":
            assert running.wait(SECONDS)
            raise ZeroDivisionError
        job = jobs.start(do.hang, seconds_max=SECONDS)
        assert job.next_message()
        running.set()
        try:
            job.wait()
        except RunStopped:
            stopped.append(name)

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(jobs, 2, run, ["hangs", "fails"]))
    assert stopped == ["hangs"]
    with pytest.raises(RunStopped):
        jobs.start(do.give, 1, seconds_max=SECONDS)


def test_a_caller_that_stops_asking_lets_jobs_live(jobs: Jobs) -> None:
    """Leaving the loop early begins no further item, and the jobs can be used afterwards."""
    begun: list[int] = []

    def begin(number: int) -> None:
        begun.append(number)
        time.sleep(0.05 if number else 0)

    for _ in side_by_side(jobs, 1, begin, range(1000)):
        break
    assert len(begun) < 1000
    assert jobs.run(do.give, 1, seconds_max=SECONDS) == Returned(1)


INTERRUPTED = """
import os, random, signal, threading, time
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.parallel import side_by_side

draw = random.Random(0)
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in range(300):
    seconds = draw.uniform(0, 0.02)
    sender = threading.Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), signal.SIGINT)), daemon=True)
    try:
        sender.start()
        for _ in side_by_side(Jobs(), 2, abs, range(400)):
            pass
        sender.join()
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.lengthy
def test_an_interrupt_at_any_moment_ends_it() -> None:
    """No thread waits for a lock that the interrupted main thread holds for ever."""
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=200, check=True)
    assert ended.stdout.count("interrupted") > 100, ended.stderr
