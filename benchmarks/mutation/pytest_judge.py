"""Unit tests as a judge of mutants: they run with the bug, in a process of their own, until one fails."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.mutation.baselines import Baselines
from benchmarks.mutation.places import ROOT, tests_of
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.bounded import run_bounded
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.overlay import Overlay
from crashmatrix.scenarios.mutation.results import Outcome

__all__ = ["PYTEST", "UnitTests"]

_SECONDS_MIN, _TIMES, _SECONDS_MAX = 60.0, 8.0, 1800.0
PYTEST = [
    sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-rfE", "-p", "no:cacheprovider", "--no-header", "--assert=plain"
]  # fmt: skip
"""Plain asserts: pytest would load the modules of packages that have a plugin, as ours has, by itself, and so without the bug."""
_PASSED, _FAILED, _NO_TESTS = {0}, {1, 2, 4}, 5
"""Exit statuses of pytest. 2 and 4: the tests, or their conftest, could not be imported."""


class UnitTests:
    """Tests; each run of them is made once without a bug, to learn that it passes and how long it takes."""

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


def _run(arguments: list[str], mutant: SourceMutant | None, seconds_max: float, stop: threading.Event) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
        log, place = Path(folder, "output.txt"), Path(folder, "overlay")
        place.mkdir()
        overlay = Overlay(place, {mutant.path: mutant.text()} if mutant else {})
        status = run_bounded([*PYTEST, *arguments], overlay.environment(), log, seconds_max, stop, ROOT)
        if status is None:
            return Outcome("timeout", about=f"not done after {seconds_max:.0f} s")
        failed = [
            line for line in log.read_text("utf-8", "replace").splitlines() if line.startswith(("FAILED", "ERROR"))
        ]
        if status in _FAILED:
            return Outcome("failed", *_named(failed))
        if status not in _PASSED and status != _NO_TESTS:
            return Outcome("error", about=f"pytest: exit status {status}")
        return Outcome("survived") if mutant is None or overlay.was_loaded() else Outcome("unloaded")


def _named(failed: list[str]) -> tuple[str, str]:
    if not failed:
        return "", "pytest could not begin"
    test, _, message = failed[0].partition(" - ")
    return test.split(" ", 1)[-1], message[:200]
