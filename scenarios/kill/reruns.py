"""Further undisturbed runs of a workload, made only when a killed run differs from its snapshot: is the difference a passing one?

Their snapshots are taken at the same hits, those of the recoveries after it included.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.checker import Checker, CrashState
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.exploring import snapshots_of
from crashmatrix.scenarios.kill.plan import CrashPath
from crashmatrix.scenarios.kill.profile import Prepared

__all__ = ["RERUNS_MAX", "Reruns"]

RERUNS_MAX = 4
"""How many runs are made at most. A random choice between two values is the same one in all of them once in 16 times."""


class Reruns:
    """The states of further runs, at ``hits`` of the workload. Thread-safe."""

    def __init__(self, checker: Checker, prepared: Prepared, hits: Collection[Hit]) -> None:
        self._checker, self._prepared, self._hits = checker, prepared, set(hits)
        self._runs: list[dict[CrashPath, CrashState | None]] = []
        self._lock = threading.Lock()

    def states(self, path: CrashPath, number: int) -> list[CrashState]:
        """The states along a path in the first ``number`` runs; of a run that failed, or did not come there, none."""
        with self._lock:
            while len(self._runs) < number:
                self._runs.append({})
                with suppress(UsageError):
                    found = snapshots_of(self._checker, self._prepared, self._hits)
                    self._runs[-1].update({(hit,): state for hit, state in found})
            states = [self._state(run, path) for run in self._runs[:number]]
        return [state for state in states if state is not None]

    def _state(self, run: dict[CrashPath, CrashState | None], path: CrashPath) -> CrashState | None:
        """The state of one run, recovered from the ones before it along the path."""
        if path not in run:
            before = self._state(run, path[:-1]) if path[1:] else None
            recovery = self._checker.check(before, snapshot=True).recovery if before else ()
            for snapshot in recovery:
                run[*path[:-1], snapshot.hit] = CrashState(snapshot.tree, before.promises) if before else None
            run.setdefault(path, None)
        return run[path]
