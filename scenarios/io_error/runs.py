"""Runs of the workload with a fault: one run yields the crashed folders of all endings that the process itself reaches."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import ScenarioResult
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error import jobs as work, outside
from crashmatrix.scenarios.io_error.copies import Copies, Stop
from crashmatrix.scenarios.io_error.faults import ActionFault, Fault, PointFault
from crashmatrix.scenarios.io_error.jobs import size_of
from crashmatrix.scenarios.io_error.messages import (
    KILLED,
    KILLED_LATER,
    REOPENED,
    RESUMED,
    Account,
    Fired,
    Place,
    Profile,
    Taken,
    what_failed,
)
from crashmatrix.scenarios.judging.checker import Checker, CrashState
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, Made, answers_alike
from crashmatrix.scenarios.processes.jobs import Job
from crashmatrix.scenarios.processes.result import Died, JobResult, TimedOut, exit_text
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.processes.stopping import frozen
from crashmatrix.scenarios.target.journal import Item, Promises
from crashmatrix.scenarios.target.notes import AckNote, AnyNote, parse

__all__ = ["Begun", "FaultyRun", "Prepared", "TriedFault", "begin", "prepare", "prepared_from", "run_with", "serves"]


@dataclass(frozen=True)
class Begun:
    """The state from which every run of the workload starts, and what an undisturbed run does. A resumed run remembers it."""

    tree: Tree
    items: tuple[Item, ...]
    profile: Profile
    points: tuple[Place, ...]
    """The hits of the system's own failpoints."""
    end: CrashState
    seconds: float
    """How long the undisturbed run took."""

    def trees(self) -> list[Tree]:
        """The snapshots in it."""
        return [self.tree, self.end.tree]


@dataclass(frozen=True)
class Prepared(Begun):
    """The same, with how long a run of the workload may take."""

    patience: Patience


@dataclass
class FaultyRun:
    """A run with a fault: the states it left by ending, how the workload ended, and its journal."""

    result: JobResult[None]
    states: dict[str, CrashState] = field(default_factory=dict)
    fired: Place | None = None
    account: Account | None = None
    journal: bytes = b""
    journal_at_fault: int = 0
    """How long the journal was when the call failed."""
    stops: dict[str, list[Stop]] = field(default_factory=dict)
    """Further states of endings that come about at several instants."""
    worst: dict[str, Stop] = field(default_factory=dict)
    """Those of them that are judged worse than the ending's first state (`judge`)."""
    owed: dict[str, Promises] = field(default_factory=dict)
    """On a recorded disk, the promises made before each ending."""
    senseless: str = ""
    """Why the journal makes no sense, if it does not."""
    recorded: int = 1
    """On a recorded disk, how many recordings were made for it; none if those for another fault served."""

    @cached_property
    def after_fault(self) -> list[AnyNote]:
        """The journal's lines since the call failed."""
        return [parse(line) for line in self.journal[self.journal_at_fault :].split(b"\n")[:-1]]

    @property
    def went_on(self) -> bool:
        """Whether something was acknowledged after the fault."""
        return any(isinstance(note, AckNote) for note in self.after_fault)

    def before(self, ending: str) -> CrashState | None:
        """The folder and the promises before the first recovery of an ending; None if the run has not got there."""
        stop = self.worst.get(ending)
        return stop.state if stop else self.states.get(REOPENED if ending == RESUMED else ending)

    def promises(self, ending: str) -> Promises | None:
        """The promises made before an ending; None if the run has not got there."""
        state = self.before(ending)
        return state.promises if state else self.owed.get(ending)

    @property
    def died(self) -> str:
        """By which signal the workload died, in words: SIGBUS at a store to a mapped file, SIGABRT at a check; or empty."""
        if isinstance(self.result, Died) and self.result.exit_code < 0 and self.result.exit_code != -signal.SIGKILL:
            return exit_text(self.result.exit_code)
        return ""

    @property
    def met(self) -> str:
        """The call that failed first, as `what_failed` has it; empty if none did."""
        return what_failed(self.fired.made.name, self.fired.files) if self.fired else ""

    @property
    def hung(self) -> bool:
        """Whether the workload did not come to an end."""
        return isinstance(self.result, TimedOut)


@dataclass(frozen=True)
class TriedFault:
    """A fault and its results. ``run`` numbers the runs of one group of faults, as a run may serve for several."""

    fault: str
    fired: bool
    went_on: bool
    run: int
    results: tuple[ScenarioResult, ...]
    died: str = ""
    """By which signal the workload died, in words; empty if it did not."""
    met: str = ""
    """The call that failed (`what_failed`)."""


def serves(run: FaultyRun, fault: Fault) -> bool:
    """Whether a fault's own run would be the same as one that was made."""
    return isinstance(fault, CallFault) and run.account is not None and answers_alike(fault, run.account.since)


def prepare(checker: Checker) -> Prepared:
    """Prepare the folder, and run the workload once, undisturbed. Raises UsageError: it does not work."""
    return prepared_from(checker, begin(checker))


def begin(checker: Checker) -> Begun:
    """As `prepare`; a run that is resumed goes on from what the earlier one prepared."""
    return checker.memory.once("prepared for errors", Begun, lambda: _begin(checker), Begun.trees)


def prepared_from(checker: Checker, begun: Begun) -> Prepared:
    """Return what was prepared, with the patience for its runs."""
    patience = Patience(max(checker.system.seconds_max, 3 * begun.seconds))
    patience.ended(begun.seconds)
    return Prepared(**vars(begun), patience=patience)


def _begin(checker: Checker) -> Begun:
    folder = checker.folder()
    root, journal = folder / ROOT_NAME, folder / "journal"
    items, tree = checker.prepare(root)
    begun = time.monotonic()
    profile = checker.must("the undisturbed workload", checker.run(work.profile, root, journal))
    seconds = time.monotonic() - begun
    end = CrashState(checker.store.capture(root), Promises.parse(read_file(journal), items))
    remove_tree(folder)
    return Begun(tree, tuple(items), profile, _points(checker, tree), end, seconds)


def _points(checker: Checker, tree: Tree) -> tuple[Place, ...]:
    folder = checker.folder()
    root = folder / ROOT_NAME
    checker.store.restore(tree, root)
    found = checker.must("the undisturbed workload", checker.run(work.hits, root, folder / "journal"))
    remove_tree(folder)
    points = tuple(Place(Made(name, number, "failpoint", (name,)), name) for name, number in found)
    return (*points, *_points_outside(checker, tree))


def _points_outside(checker: Checker, tree: Tree) -> tuple[Place, ...]:
    """The hits of failpoints that programs in other languages have, if the target names some that can fail."""
    if not checker.must("failing_outside", checker.jobs.run(outside.named, checker.target, seconds_max=60)):
        return ()
    folder = checker.folder()
    root = folder / ROOT_NAME
    checker.store.restore(tree, root)
    found = checker.must("the undisturbed workload", checker.run(outside.places_outside, root, folder / "journal"))
    remove_tree(folder)
    return found


def run_with(
    checker: Checker,
    prepared: Prepared,
    faults: Sequence[Fault],
    endings: Sequence[str],
    folder: Path,
    *,
    keep_steps: bool = False,
) -> FaultyRun:
    """Run the workload with faults, in ``folder``; a run that was too slow for a learnt limit is made again."""
    while True:
        limit = prepared.patience.limit
        run = _run(checker, prepared, faults, endings, folder, limit, keep_steps)
        if not run.hung or prepared.patience.hung(limit):
            return run
        for left in folder.iterdir():
            remove_tree(left) if left.is_dir() else left.unlink()


def _run(
    checker: Checker,
    prepared: Prepared,
    faults: Sequence[Fault],
    endings: Sequence[str],
    folder: Path,
    limit: float,
    keep_steps: bool,
) -> FaultyRun:
    root, journal = folder / ROOT_NAME, folder / "journal"
    checker.store.restore(prepared.tree, root)
    begun = time.monotonic()
    function = _function_for(faults)
    job: Job[None] = checker.jobs.start(
        function, checker.target, root, journal, tuple(faults), tuple(endings), keep_steps,
        seconds_max=limit, view=checker.view(root),
    )  # fmt: skip
    copies = Copies(checker, root)
    run, copying = _follow(job, journal, copies)
    if not run.hung:
        prepared.patience.ended(time.monotonic() - begun - copying)
    if journal.exists():
        run.journal = read_file(journal)
    copies.take(REOPENED, len(run.journal), run.account.uncached if run.account else {})
    if function is outside.fail_outside:
        at = [(place.made.calls, place.made.number) for place in prepared.points]
        run.fired = run.fired if (faults[0].calls, faults[0].number) in at else None
    elif run.fired:  # It made no call after the one that failed.
        copies.as_at_the_end(KILLED, run.journal_at_fault)
    if run.went_on and KILLED in copies.endings:  # The last acknowledgement was its last step.
        copies.as_at_the_end(KILLED_LATER, len(run.journal))
    try:
        stops = copies.stops(run.journal, prepared.items)
        run.states = {ending: first.state for ending, (first, *_) in stops.items()}
        run.stops = {ending: more for ending, (_, *more) in stops.items() if more}
    except UsageError as error:
        run.senseless = str(error)
    return run


def _function_for(faults: Sequence[Fault]) -> Any:
    if any(isinstance(fault, ActionFault) for fault in faults):
        return outside.fail_outside
    return work.fail_points if any(isinstance(fault, PointFault) for fault in faults) else work.fail_calls


def _follow(job: Job[None], journal: Path, copies: Copies) -> tuple[FaultyRun, float]:
    """Drive a run to its end; returns it, and the seconds that copying took."""
    fired: Place | None = None
    account: Account | None = None
    at_fault, copying = 0, 0.0
    while (message := job.next_message()) is not None:
        match message:
            case Fired(place, size):
                fired, at_fault = place, size
            case Account():
                account = message
            case Taken(ending, uncached, after):
                begun = time.monotonic()
                with suppress(ProcessLookupError), frozen(job.process()):
                    copies.take(ending, size_of(journal), uncached, after)
                job.grant(seconds := time.monotonic() - begun)
                copying += seconds
    return FaultyRun(job.wait(), {}, fired, account, b"", at_fault), copying
