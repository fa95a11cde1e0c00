"""Judges what a fault left, ending by ending, with the fault gone.

    killed          the process is killed at the first step after the call that failed, or at one of the next ones that follow a
                    change of the folder, up to the next line of the journal
    killed-later    it is killed at the first step after the next acknowledgement
    reopened        the workload comes to its own end, whatever it does about the error
    uncached        after a failed sync: the page cache is dropped, once the next item is acknowledged; once one is that follows
                    an unlink, a rename or a truncation; and at the end
    resumed         as reopened; then the system goes on, if it says how to (`resume`), stores more, and is opened again

An ending that comes about at several instants has the worst of their verdicts. Equal folders with equal promises are judged
once, and go on once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict, worst
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.faults import Fault
from crashmatrix.scenarios.io_error.messages import REOPENED, RESUMED
from crashmatrix.scenarios.io_error.runs import FaultyRun
from crashmatrix.scenarios.judging import second_life, worker
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.second_life import Recovered
from crashmatrix.scenarios.processes.calls.call_faults import CallFault
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.notes import AckNote, FailNote

__all__ = ["Judge", "Judged", "stays_full"]

T = TypeVar("T")

Judged = dict[str, tuple[Checked, CrashState | None]]
"""By ending: the verdict, and the state that has it."""


class Judge:
    """Judges runs of one target. Thread-safe."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._states = _Once[Checked]()
        self._lives = _Once[tuple[Checked, CrashState | None]]()

    def judge(self, fault: Fault, run: FaultyRun) -> Judged:
        """Return the verdict of each ending that a run has."""
        if run.senseless:
            return {REOPENED: (Checked(Verdict.UNKNOWN, run.senseless), None)}
        if run.fired is None:
            why = f"the fault did not fire: {_unmet(fault, run)}"
            return {REOPENED: (Checked(Verdict.UNKNOWN, why, unmet=isinstance(run.result, Returned)), None)}
        judged: Judged = {ending: self._worst(run, ending) for ending in run.states if ending != REOPENED}
        judged[REOPENED] = self._end(run)
        checked = judged[REOPENED][0]
        if self._checker.system.recovers_from_full_disk and (text := stays_full(fault, run)):
            judged[REOPENED] = Checked(Verdict.CANNOT_OPEN, text), run.states[REOPENED]
        if checked.recovered and self._checker.system.can_resume():
            judged[RESUMED] = self._resumed(checked.recovered)
        return judged

    def _worst(self, run: FaultyRun, ending: str) -> tuple[Checked, CrashState]:
        """Judge all states of an ending; its verdict is the worst one, by the first state that has it."""
        state = run.states[ending]
        checked = self._state(state)
        for stop in run.stops.get(ending, ()):
            found = self._state(stop.state)
            if worst((checked.verdict, found.verdict)) is not checked.verdict:
                when = f"killed after its {stop.after}: " if stop.after else ""
                checked, state = replace(found, explanation=f"{when}{found.explanation}"), stop.state
                run.worst[ending] = stop
        return checked, state

    def _state(self, state: CrashState) -> Checked:
        return self._states.get(state.key, lambda: self._checker.check(state))

    def _end(self, run: FaultyRun) -> tuple[Checked, CrashState]:
        state = run.states[REOPENED]
        if run.hung:
            return Checked(Verdict.HANGS, "the workload was still running at its time limit, after the fault"), state
        return self._state(state), state

    def _resumed(self, recovered: Recovered) -> tuple[Checked, CrashState | None]:
        return self._lives.get(str(recovered.key), lambda: self._live(recovered))

    def _live(self, recovered: Recovered) -> tuple[Checked, CrashState | None]:
        """Go on in a copy of a recovered folder, and open it again."""
        checker = self._checker
        folder = checker.folder()
        root, journal, resuming = folder / ROOT_NAME, folder / "journal", checker.patience.resuming

        def anew() -> None:
            remove_tree(root)
            journal.unlink(missing_ok=True)
            checker.store.restore(recovered.tree, root)

        try:
            checker.store.restore(recovered.tree, root)
            result = resuming.tried(
                lambda limit: checker.run(worker.resume, root, journal, (), None, recovered.items, limit=limit), anew
            )
            promises = recovered.promises(read_file(journal) if journal.exists() else b"")
            if not isinstance(result, Returned):
                failed = second_life.failed_resumption(result, root, resuming.seconds_max)
                return Checked(failed.verdict, failed.explanation), None
            again = second_life.stored_again(checker.contract, promises)
            state = CrashState(checker.store.capture(root), promises, resumed=True)
        except UsageError as error:  # The journal makes no sense.
            return Checked(Verdict.UNKNOWN, f"when it was resumed: {error}"), None
        finally:
            remove_tree(folder)
        if again:
            return Checked(Verdict.UNKNOWN, again), state
        return checker.check(state), state


def _unmet(fault: Fault, run: FaultyRun) -> str:
    """Say why a fault did not fire."""
    if not isinstance(fault, CallFault):
        return f"the workload made fewer than {fault.number} hits of {fault.calls} this time"
    if fault.short and run.account and fault.number in dict(run.account.of_class):
        return f"call {fault.number} of class {fault.calls} could not be done in part this time"
    return f"the workload made fewer than {fault.number} calls of class {fault.calls} this time"


def stays_full(fault: Fault, run: FaultyRun) -> str:
    """Return how a system cannot store again once there is room again; empty if it can, or was not tried."""
    if fault.errno not in ("ENOSPC", "EDQUOT") or run.hung:
        return ""
    if run.died:
        return (
            f"its process {run.died} when there was no room, and only a restart makes it store again; the target says that it "
            "recovers from a full disk (`recovers_from_full_disk`)"
        )
    if fault.times not in ("once", "twice"):
        return ""
    failures = [at for at, note in enumerate(run.after_fault) if isinstance(note, FailNote)]
    later = run.after_fault[failures[0] + 1 :] if failures else []
    refused = sum(isinstance(note, FailNote) for note in later)
    if not refused or any(isinstance(note, AckNote) for note in later):
        return ""
    return (
        f"there was room again after {fault.errno}, and each of the {refused} items attempted since was refused; the target says "
        "that it recovers from a full disk (`recovers_from_full_disk`)"
    )


class _Once(Generic[T]):
    """Values by key, each made by one of the threads that want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._values: dict[str, T] = {}

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the value of a key, made by ``make`` if this is the first to want it."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]
