"""Jobs: whatever a function does in its process, its driver learns how it ended, and nothing of it is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from crashmatrix.scenarios.errors import RunStopped
from crashmatrix.scenarios.processes.jobs import Job, Jobs
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from tests import ROOT
from tests.processes import alive, descendants
from tests.scenarios import job_functions as do

SECONDS = 200.0
"""A limit that only a hanging job reaches."""

SHORT = 0.3
"""The limit of jobs that do hang."""


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.job_functions"]) as jobs:
        yield jobs


def watch(pids: Iterable[int]) -> list[psutil.Process]:
    """Take hold of processes, so that another one with the same id is not taken for them."""
    return [psutil.Process(pid) for pid in pids]


def running(job: Job[Any]) -> list[psutil.Process]:
    """A job and what it has started, by the numbers that they have outside of their namespace."""
    return [psutil.Process(job.pid), *descendants(job.pid)]


def message(job: Job[Any]) -> Any:
    """Return a job's next message, which must come."""
    content = job.next_message()
    assert content is not None, job.result
    return content


def test_a_limit_beyond_all_reason(jobs: Jobs) -> None:
    """The limit grows with the budget, and poll(2) takes no more than 24 days."""
    assert jobs.run(do.leave_things_to_do, seconds_max=1e9) == Returned("returned")


@pytest.mark.parametrize("value", [None, 0, "é", b"\0", [1, {"a": ()}], Path("/x"), "x" * 3_000_000])
def test_value(jobs: Jobs, value: Any) -> None:
    """A function that returns yields its value, however large, and nothing else."""
    assert jobs.run(do.give, value, seconds_max=SECONDS) == Returned(value)


@pytest.mark.parametrize(
    ("name", "kinds", "message", "claim"),
    [
        ("own", ("UsageError", "ScenarioError", "Exception", "BaseException"), "no such thing", None),
        ("promise", ("PromiseBroken", "ScenarioError"), "corrupt: row 7 differs", ("corrupt", "row 7 differs")),
        ("builtin", ("FileNotFoundError", "OSError"), "[Errno 2] No such file or directory: '/x'", None),
        ("panic", ("Panic", "BaseException"), "stop", None),
        ("interrupt", ("KeyboardInterrupt", "BaseException"), "", None),
        ("exit", ("SystemExit", "BaseException"), "3", None),
    ],
)
def test_exception(jobs: Jobs, name: str, kinds: tuple[str, ...], message: str, claim: object) -> None:
    """An exception of any kind is reported by its classes' names, message and traceback; its class need not exist here."""
    raised = jobs.run(do.fail, name, seconds_max=SECONDS)
    assert isinstance(raised, Raised)
    assert (raised.kinds[: len(kinds)], raised.message, raised.claim) == (kinds, message, claim)
    assert "job_functions.py" in raised.traceback
    assert str(raised) == f"raised {kinds[0]}: {message}"


@pytest.mark.parametrize(
    ("function", "args", "died", "said"),
    [
        (do.die, (signal.SIGKILL,), -9, "died by SIGKILL; it printed: last words"),
        (do.die, (signal.SIGTERM,), -15, "died by SIGTERM; it printed: last words"),
        (do.die, (40,), -40, "died by signal 40; it printed: last words"),
        (do.crash, (), -11, "died by SIGSEGV"),
        (do.leave, (0,), 0, "exited with status 0"),
        (do.leave, (7,), 7, "exited with status 7"),
    ],
    ids=["SIGKILL", "SIGTERM", "real-time signal", "SIGSEGV", "exit 0", "exit 7"],
)
def test_death(jobs: Jobs, function: Any, args: tuple[int, ...], died: int, said: str) -> None:
    """A death by a signal or `os._exit`, even with status 0, is reported as a death, never as a return."""
    result = jobs.run(function, *args, seconds_max=SECONDS)
    assert isinstance(result, Died)
    assert (result.exit_code, str(result)) == (died, said)


def test_nothing_runs_at_exit(jobs: Jobs) -> None:
    """A job ends when its function returns; threads it left running do not hold it."""
    assert jobs.run(do.leave_things_to_do, seconds_max=SECONDS) == Returned("returned")


def test_value_that_cannot_be_sent(jobs: Jobs) -> None:
    """A value that cannot be pickled is not a return, and the job's output has the reason."""
    result = jobs.run(do.give_unpicklable, seconds_max=SECONDS)
    assert isinstance(result, Died)
    assert result.exit_code == 1
    assert "pickle" in str(result)


def test_time_out_kills_the_job_and_what_it_started(jobs: Jobs) -> None:
    """At its time limit a job ends, and so does every process it started."""
    job = jobs.start(do.hang, seconds_max=SECONDS)
    message(job)
    processes = running(job)
    assert all(process.is_running() for process in processes)
    job._deadline = 0.0
    result = job.wait()
    assert (result, str(result)) == (TimedOut(), "ran out of time")
    assert alive(processes) == []


def test_time_out_of_a_job_that_hangs_up(jobs: Jobs) -> None:
    """A job that closes its end and lives on runs into its time limit like any other, and does not block the next."""
    assert jobs.run(do.hang_deaf, seconds_max=SHORT) == TimedOut()
    assert jobs.run(do.give, 1, seconds_max=SECONDS) == Returned(1)


@pytest.mark.parametrize(("how", "result"), [("die", Died(-9)), ("return", None)])
def test_forks_do_not_outlive_their_job(jobs: Jobs, how: str, result: JobResult[int] | None) -> None:
    """A job that ends while a fork of it holds its files ends at once, and the fork with it."""
    job = jobs.start(do.leave_fork_behind, how, seconds_max=SECONDS)
    child = message(job)
    processes = running(job)
    assert len(processes) == 2
    job.answer()
    assert job.wait() == (result or Returned(child))
    assert alive(processes) == []


def test_messages_both_ways(jobs: Jobs) -> None:
    """Driver and child talk in turns; after the end there are no more messages, and answers go nowhere quietly."""
    job = jobs.start(do.converse, seconds_max=SECONDS)
    heard = []
    while (number := job.next_message()) is not None:
        heard.append(number)
        job.answer(number * 10)
    assert heard == [0, 1, 2]
    assert job.wait() == Returned([0, 10, 20])
    assert job.next_message() is None


def test_answer_to_the_dead(jobs: Jobs) -> None:
    """An answer to a child that died meanwhile is not an error; its death is reported next."""
    job = jobs.start(do.converse, seconds_max=SECONDS)
    assert job.next_message() == 0
    process = watch([job.pid])
    os.kill(job.pid, signal.SIGKILL)
    assert alive(process) == []
    job.answer(1)
    assert job.next_message() is None
    assert job.wait() == Died(-9)


def test_wait_drops_messages_of_any_value(jobs: Jobs) -> None:
    """Waiting for the end passes over messages, None included."""
    assert jobs.run(do.say_nothing, seconds_max=SECONDS) == Returned("said it")


@pytest.mark.parametrize(("last", "shown"), [(b"the end", "the end"), (b"no Unicode: \xff", "no Unicode: \ufffd")])
def test_output(jobs: Jobs, last: bytes, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The last of what a job printed is kept, on whichever stream; nothing of it reaches our own."""
    result = jobs.run(do.shout, 10_000, last, seconds_max=SECONDS)
    assert result.output[-50:] == ("x" * 50 + shown)[-50:]
    assert len(result.output) == 2000
    assert str(result) == "exited with status 4; it printed: " + ("x" * 300 + shown)[-300:]
    assert capfd.readouterr() == ("", "")


def test_surroundings(jobs: Jobs) -> None:
    """A job leads a session of its own, can be interrupted, and knows nothing of the program's main module."""
    job = jobs.start(do.identity, seconds_max=SECONDS)
    main = ""
    assert job.wait() == Returned((True, True, main, True))


def test_whereabouts(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job begins where its driver is, and imports from where its driver does, as that is now; it reads nobody's input."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.syspath_prepend(tmp_path / name)
        monkeypatch.setattr(sys, "argv", ["program", name])
        found = jobs.run(do.whereabouts, seconds_max=SECONDS)
        assert found == Returned((str(tmp_path / name), sys.path, sys.argv, os.devnull))


def test_many_threads_drive_jobs(jobs: Jobs) -> None:
    """Threads share one `Jobs`: each gets the end of its own job."""
    calls = [(do.give, (n,)) if n % 2 else (do.leave, (n,)) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda call: jobs.run(call[0], *call[1], seconds_max=SECONDS), calls))
    assert ends == [Returned(n) if n % 2 else Died(n) for n in range(24)]


def test_no_job_outlives_the_block() -> None:
    """Leaving the block ends every job and what it started, whether or not anybody drives it; none starts after."""
    with Jobs() as jobs:
        started = [jobs.start(do.hang, seconds_max=SECONDS) for _ in range(3)]
        processes = [process for job in started if message(job) for process in running(job)]
        assert all(process.is_running() for process in processes)
    assert alive(processes) == []
    for job in started:
        with pytest.raises(RunStopped):
            job.wait()
    with pytest.raises(RunStopped):
        jobs.start(do.give, 1, seconds_max=SECONDS)


def test_the_death_of_a_job_that_was_stopped_is_no_result() -> None:
    """Its driver gets an error, each time, which nothing that catches errors takes for a result; later jobs run as ever."""
    with Jobs(preload=["tests.scenarios.job_functions"]) as jobs:
        job, other = jobs.start(do.hang, seconds_max=SECONDS), jobs.start(do.hang, seconds_max=SECONDS)
        assert message(job)
        assert message(other)
        jobs.stop_all()
        for ask in (job.wait, job.wait, job.next_message, other.next_message, other.wait):
            with pytest.raises(RunStopped) as raised:
                ask()
            assert not isinstance(raised.value, Exception)
        with pytest.raises(RunStopped):
            jobs.start(do.give, 1, seconds_max=SECONDS)
        jobs.go_on()
        assert jobs.run(do.give, 1, seconds_max=SECONDS) == Returned(1)
        with pytest.raises(RunStopped):
            job.wait()


@pytest.mark.lengthy
def test_each_block_has_what_it_asked_for_loaded() -> None:
    """Blocks that follow each other load separately; a block within another uses the modules that the outer one loaded."""
    with Jobs() as before:  # Nobody waits for its job.
        assert message(before.start(do.hang, seconds_max=SECONDS))
    for preload, loaded in (
        (["crashmatrix.scenarios.judging.worker"], False),
        (["wave"], True),
        (["crashmatrix.scenarios.judging.worker"], False),
    ):
        with Jobs(preload=preload) as jobs:
            assert jobs.run(do.loaded, "wave", seconds_max=SECONDS) == Returned(loaded)
    with Jobs(preload=["wave"]) as outer:
        job = outer.start(do.hang, seconds_max=SECONDS)
        assert message(job)
        with Jobs() as inner:
            assert inner.run(do.loaded, "wave", seconds_max=SECONDS) == Returned(True)
        assert job.result is None
        job.stop()
        assert job.wait() == Died(-9)


def test_exception_in_the_block_ends_jobs() -> None:
    """An interrupt in the block ends its jobs, too."""
    processes = []
    with pytest.raises(KeyboardInterrupt), Jobs() as jobs:
        job = jobs.start(do.hang, seconds_max=SECONDS)
        message(job)
        processes = running(job)
        raise KeyboardInterrupt
    assert len(processes) == 2
    assert alive(processes) == []
    with pytest.raises(RunStopped):
        job.wait()


MAIN = """
import sys
from pathlib import Path
with open(sys.argv[1], "a") as file:
    file.write(__name__ + "\\n")

from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import alive, descendants
from tests.scenarios import job_functions as do

if __name__ == "__main__":
    with Jobs(preload=sys.argv[2:]) as jobs:
        print(jobs.run(do.give, 5, seconds_max=30).value, flush=True)
        job = jobs.start(do.hang_alone, seconds_max=30)
        print(job.next_message(), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(MAIN)
    (tmp_path / "broken_module.py").write_text("raise ValueError('not today')")
    return tmp_path / "script.py"


def start(script: Path, *preload: str, **environment: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(ROOT), str(script.parent)])
    return subprocess.Popen(
        [sys.executable, script, script.parent / "imports", *preload],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("preload", [[], ["no_such_module"], ["broken_module"]])
def test_main_module_is_not_imported(script: Path, preload: list[str]) -> None:
    """A script with effects has them once, not in every job; a module that cannot be preloaded does no harm."""
    with start(script, *preload) as process:
        said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("5\nhere\n", 0)
    assert (script.parent / "imports").read_text() == "__main__\n"


@pytest.mark.lengthy
def test_killed_program_leaves_nothing(script: Path) -> None:
    """A program that is killed takes its fork server and its jobs along."""
    with start(script) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["5\n", "here\n"]
        started = descendants(process.pid)
        assert len(started) >= 2  # fork server and job, at least
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert alive(started) == []


def test_a_program_started_by_another_has_sockets_of_its_own(script: Path, jobs: Jobs) -> None:
    """A program's fork server is not mistaken for that of the program that started it, in however deep a folder."""
    assert jobs.run(do.give, 5, seconds_max=SECONDS) == Returned(5)
    deep = script.parent / "deep" / ("x" * 100)
    deep.mkdir(parents=True)
    with start(script, "tests.scenarios.job_functions", TMPDIR=str(deep)) as process:
        said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("5\nhere\n", 0)
