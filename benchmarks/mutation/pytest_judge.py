"""Unit tests as a judge of mutants: they run with the bug, in a process of their own, until one fails."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.mutation.baselines import Baselines
from benchmarks.mutation.places import ENGINE_TESTS, ROOT, tests_of
from benchmarks.mutation.reach import Reach, measured
from benchmarks.mutation.warm_tests import WarmTests
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.bounded import run_bounded
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.overlay import Overlay
from crashmatrix.scenarios.mutation.results import Outcome

__all__ = ["EngineTests", "UnitTests"]

_SECONDS_MIN, _TIMES, _SECONDS_MAX = 60.0, 8.0, 1800.0
_TEST_SECONDS_MAX = 40
"""For one test of the engine, of which the longest takes four seconds."""
PYTEST_ARGUMENTS = ["-x", "-q", "-n0", "-rfE", "-p", "no:cacheprovider", "--no-header", "--assert=plain"]
"""Plain asserts: pytest would load the modules of packages that have a plugin, as ours has, by itself, and so without the bug."""
_QUICK_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""In memory: the tests need no disk, and wait for it a third of their time."""
_PASSED, _FAILED, _NO_TESTS = {0}, {1, 2, 3, 4}, 5
"""Exit statuses of pytest. 2 and 4: the tests, or their conftest, could not be imported; 3: a time limit came amid a fixture."""


class UnitTests:
    """Tests of the code that judges. Each run of them is made once without a bug: it passes, and takes so long."""

    def __init__(self, baselines: Baselines, chosen: Callable[[Path], list[list[str]]] = tests_of) -> None:
        """``chosen``: returns the arguments of pytest for a module, one run after the other."""
        self._baselines, self._chosen = baselines, chosen

    def judge(self, mutant: SourceMutant, stop: threading.Event) -> Outcome:
        """Run the tests with the bug. Raises Stopped, and UsageError if they fail without it."""
        start, outcomes = time.perf_counter(), list[Outcome]()
        for arguments in self._chosen(mutant.path):
            limit = max(_SECONDS_MIN, _TIMES * self._without_bug(arguments, stop))
            outcomes.append(_run(arguments, mutant, limit, stop))
            if outcomes[-1].kind not in ("survived", "unloaded"):
                break
        found = ([each for each in outcomes if each.kind != "unloaded"] or outcomes)[-1]
        return Outcome(found.kind, found.by, found.about, round(time.perf_counter() - start, 1))

    def _without_bug(self, arguments: list[str], stop: threading.Event) -> float:
        name = " ".join(arguments)

        def run() -> float:
            start = time.perf_counter()
            outcome = _run(arguments, None, _SECONDS_MAX, stop)
            if outcome.kind != "survived":
                raise UsageError(f"{name} fails without any bug: {outcome.by} {outcome.about}")
            return time.perf_counter() - start

        return self._baselines.once(name, float, run)


class EngineTests:
    """Tests of the engine: those that run the line with the bug, in forks of a process that has loaded Arrow and the like."""

    def __init__(self, baselines: Baselines) -> None:
        self._baselines = baselines
        self._idle = list[WarmTests]()

    def judge(self, mutant: SourceMutant, stop: threading.Event) -> Outcome:
        """Run the tests with the bug. Raises Stopped, OSError, and UsageError if they fail without it."""
        reach = self._baselines.once("reach", Reach, lambda: measured(ENGINE_TESTS))
        start, found = time.perf_counter(), Outcome("unreached")
        for tests in reach.tests_of(mutant):
            limit = max(_SECONDS_MIN, _TIMES * sum(reach.seconds[test] for test in tests))
            found = self._run(mutant, tests, limit, stop)
            if found.kind != "survived":
                break
        return msgspec.structs.replace(found, seconds=round(time.perf_counter() - start, 1))

    def _run(self, mutant: SourceMutant, tests: list[str], limit: float, stop: threading.Event) -> Outcome:
        try:
            warm = self._idle.pop()
        except IndexError:
            warm = WarmTests(ROOT)
        with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-", dir=_QUICK_FOLDER) as folder:
            arguments = [*PYTEST_ARGUMENTS, f"--timeout={_TEST_SECONDS_MAX}", f"--basetemp={folder}/tests", *tests]
            found = _judged(
                mutant, Path(folder), lambda log, overlay: warm.run(arguments, overlay, log, limit, stop), limit
            )
        self._idle.append(warm)
        return found

    def close(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.pop().close()


def _run(arguments: list[str], mutant: SourceMutant | None, seconds_max: float, stop: threading.Event) -> Outcome:
    def run(log: Path, overlay: Overlay) -> int | None:
        command = [sys.executable, "-m", "pytest", *PYTEST_ARGUMENTS, *arguments]
        return run_bounded(command, overlay.environment(), log, seconds_max, stop, ROOT)

    with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
        return _judged(mutant, Path(folder), run, seconds_max)


def _judged(
    mutant: SourceMutant | None, folder: Path, run: Callable[[Path, Overlay], int | None], seconds_max: float
) -> Outcome:
    log, place = folder / "output.txt", folder / "overlay"
    place.mkdir()
    overlay = Overlay(place, {mutant.path: mutant.text()} if mutant else {})
    status = run(log, overlay)
    if status is None:
        return Outcome("timeout", about=f"not done after {seconds_max:.0f} s")
    failed = [line for line in log.read_text("utf-8", "replace").splitlines() if line.startswith(("FAILED", "ERROR"))]
    if status in _FAILED:
        return Outcome("failed", *_named(failed))
    if status < 0:
        return Outcome("failed", about=f"the tests died of signal {-status}")
    if status not in _PASSED and status != _NO_TESTS:
        return Outcome("error", about=f"pytest: exit status {status}")
    return Outcome("survived") if mutant is None or overlay.was_loaded() else Outcome("unloaded")


def _named(failed: list[str]) -> tuple[str, str]:
    if not failed:
        return "", "pytest could not begin"
    test, _, message = failed[0].partition(" - ")
    return test.split(" ", 1)[-1], message[:200]
