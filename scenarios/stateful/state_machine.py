"""Hypothesis drives a store through operations and crashes: kills and power cuts are rules beside the user's own.

    from my_store import Store        # Store(root) opens, and recovers; store.items() says what is there

    class StoreMachine(CrashStateMachine):
        open = Store
        contract = "latest"

        @rule(key=st.sampled_from("abc"), value=st.integers(0, 9))
        def put(self, key, value):
            self.do("put", key, value, item=[key, value])       # Store.put(key, value) promises [key, value]

    TestStore = StoreMachine.TestCase

The store lives in a process that can die (`sessions`): at the hits of its failpoints, or, if it declares none, before the
system calls by which it changes its folder. After each crash, another process opens the store on the folder that is
left. The contract judges the items it then holds, and the machine goes on with them. A failure is shrunk to few steps.

A power cut repeats everything since the last one on a recorded disk, which takes a third of a second. It may undo steps: a
crash state can lie before the last of them. Recordings of one sequence differ in the kernel's writes. Within a process, those
of failures are kept (`traces`), so that Hypothesis meets the same crash states whenever it tries again. In another process (its
example database), a failure by a power cut may need several examples to come back.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

try:
    from hypothesis import event, strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
except ImportError as error:
    raise ImportError("CrashStateMachine needs Hypothesis; run: pip install 'crashmatrix[hypothesis]'") from error

from crashmatrix.faults.disk import RecordOptions, requirements
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import EnvironmentLacks, PromiseBroken, ScenarioError
from crashmatrix.scenarios.processes.jobs import Job, Jobs
from crashmatrix.scenarios.processes.result import JobResult, Raised, Returned, TimedOut
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME, View, needed_folders
from crashmatrix.scenarios.processes.scratch import own_folder, scratch_folder
from crashmatrix.scenarios.recorded.boots import boot_after
from crashmatrix.scenarios.stateful.sessions import (
    STATES_MAX,
    Answer,
    Kill,
    Make,
    Operation,
    Session,
    cut_power,
    hold,
)
from crashmatrix.scenarios.stateful.settling import events_in, settled
from crashmatrix.scenarios.stateful.traces import Traces, fails
from crashmatrix.scenarios.target.contract import Contract, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Event, Item, Promises

__all__ = ["CrashStateMachine", "OperationFailed"]

_NUDGES = ("none", "mixed", "commit", "writeback")
"""The nudges that act at seeded points of the workload, so that a recording repeats as far as the kernel allows."""


class OperationFailed(ScenarioError):
    """The store raised, hung, or died by itself. ``verdict`` is what that means if it did so in recovery."""

    def __init__(self, what: str, verdict: Verdict = Verdict.CANNOT_OPEN) -> None:
        self.verdict = verdict
        super().__init__(what)


class CrashStateMachine(RuleBasedStateMachine):
    """Base of a machine whose store is crashed by `kill` and `power_cut`. Rules reach the store through `do`.

    Without root, FUSE or loop devices there are no power cuts, and Hypothesis' statistics say why.

    Attributes:
        open: called with a folder, opens the store in it and recovers; importable by its name.
        items: the store's method that returns the items it holds, in whatever form the contract takes.
        contract: ``exactly-once``, ``prefix``, ``latest``, or a `Contract`.
        filesystem: the filesystem on which power is cut.
        power_cuts_max: how many there are at most in one run of the machine.
        seconds_max: how long one operation or recovery may take.
    """

    open: ClassVar[Make]
    items: ClassVar[str] = "items"
    contract: ClassVar[str | Contract] = "exactly-once"
    filesystem: ClassVar[str] = "ext4"
    power_cuts_max: ClassVar[int] = 2
    seconds_max: ClassVar[float] = 30.0

    def __init__(self) -> None:
        super().__init__()
        (self._jobs, self._traces), self._recorded = _workshop(_module_of(type(self).open)), set[Path]()
        self._own = own_folder(self._traces.folder)
        self._scratch = self._own.path
        self._folders = 0
        self._before, self._view = self._new_folder(), View(visible=needed_folders())
        self._before.mkdir()
        self._root = self._copy(self._before)
        self._sessions = [Session(Kill(0))]
        self._history = [repr((type(self).open, self.filesystem))]
        self._events: list[Event] = []
        self._past: list[Event] = []  # those before the last power cut
        self._cuts = 0
        self._job: Job[None] | None = None
        self._died_at = ""
        self._in_recovery = 0
        self._armed = False
        self._operation_hits = self._recovery_hits = 0

    # For rules

    def do(self, operation: str, *arguments: Any, item: Item = None) -> Any:
        """Call the store's method; returns what it returns, or None if it died in it (and is recovered by now).

        Args:
            item: a JSON value that the store promises by returning; judged by the contract from then on.

        Raises:
            OperationFailed: it raised, or died by itself.
            PromiseBroken: it died in it, and recovery did not find what it owes.
        """
        self._ready()
        if item is not None:
            self._events.append(Event("attempt", item))
        answer = self._tell(Operation(operation, arguments, item))
        if answer is None:
            self.crashed(self._recover(f"a kill at {self._died_at}, in {operation}"))
            return None
        if answer.error:
            raise OperationFailed(f"{operation} raised {answer.error}")
        if item is not None:
            self._events.append(Event("ack", item))
        return answer.value

    def crashed(self, items: list[Item]) -> None:
        """Hear what the store holds after a crash, once the contract has judged it: for a model of your own."""

    @precondition(lambda self: not self._armed)
    @rule(hits=st.integers(0, 99), in_recovery=st.integers(0, 99))
    def kill(self, hits: int, in_recovery: int) -> None:
        """Kill the store at that hit from now on, or now (0); and again at that hit in recovery, or not (0).

        Hits are of failpoints, or of system calls. Numbers above the most of an operation, or a recovery, begin again at 0.
        """
        self._ready()
        self._in_recovery = in_recovery % (self._recovery_hits + 1)
        hits %= self._operation_hits + 1
        if hits:
            self._armed = True
            self._tell(Kill(hits))
        else:
            self._stop()
            self.crashed(self._recover("a kill"))

    @precondition(lambda self: self._cuts < self.power_cuts_max and self._can_cut())
    @rule(nudge=st.sampled_from(_NUDGES), state=st.integers(0, STATES_MAX - 1))
    def power_cut(self, nudge: str, state: int) -> None:
        """Cut the power at some time since the last cut, and go on with what the disk then holds."""
        self._ready()
        self._stop()
        self._cuts += 1
        self._history += [repr(self._sessions), nudge]
        name = blake2b("\n".join(self._history).encode(), digest_size=12).hexdigest()
        self._recorded.add(trace := self._traces.path(name))
        after = self._new_folder()
        result = self._jobs.run(
            cut_power, type(self).open, self.items, self._sessions, self._before, trace,
            RecordOptions(filesystem=self.filesystem, nudge=nudge), state, after, self._view.boot,
            seconds_max=60 + 10 * self.seconds_max,
        )  # fmt: skip
        if not isinstance(result, Returned):
            raise EnvironmentLacks(f"a recording on {self.filesystem} {result}")
        cut = result.value
        since = events_in(contract_named(self.contract), self._past, cut.notes)
        self._past, self._events = [], [*self._past, *since]
        self._history.append(cut.state)
        self._before, self._root = after, self._copy(after)
        self._view = replace(self._view, boot=boot_after(f"{name} {cut.state}"))
        self._sessions, self._in_recovery = [], 0
        items = self._recover(f"a power cut (crash state {cut.state})")
        self._past, self._events = self._events, []
        self.crashed(items)

    def teardown(self) -> None:
        """End the store's process, and remove its folders and, unless it failed, its recordings."""
        self._stop()
        self._own.cleanup()
        self._traces.ended(self._recorded, failed=fails())

    # The store's process

    def _ready(self) -> None:
        if self._job is None:
            self._open(self._sessions[-1].first)

    def _open(self, first: Kill) -> list[Item] | None:
        """Open the store in a new process; returns its items, None if it died at a failpoint."""
        make, seconds, view = type(self).open, self.seconds_max, replace(self._view, folder=self._root.parent)
        self._job = self._jobs.start(hold, make, self.items, self._root, first, seconds_max=seconds, view=view)
        answer = self._hear()
        if answer is None:
            return None
        self._recovery_hits = max(self._recovery_hits, answer.hits)
        items: list[Item] = answer.value
        return items

    def _tell(self, step: Operation | Kill) -> Answer | None:
        assert self._job is not None
        self._sessions[-1].steps.append(step)
        self._job.grant(self.seconds_max)
        self._job.answer(step)
        answer = self._hear()
        if answer is not None and isinstance(step, Operation):
            self._operation_hits = max(self._operation_hits, answer.hits)
        return answer

    def _hear(self) -> Answer | None:
        """Return the process's answer, None if it died at a failpoint."""
        assert self._job is not None
        message = self._job.next_message()
        if isinstance(message, str):
            self._died_at = message
            assert self._job.next_message() is None
            return None
        if message is None:
            raise _failure(self._job.wait())
        assert isinstance(message, Answer)
        return message

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()
            self._job.wait()
            self._job = None

    # After a crash

    def _recover(self, crash: str) -> list[Item]:
        kills = [Kill(self._in_recovery), Kill(0)] if self._in_recovery else [Kill(0)]
        for kill in kills:
            self._stop()
            self._sessions.append(Session(kill))
            try:
                items = self._open(kill)
            except OperationFailed as error:
                raise PromiseBroken(error.verdict, f"after {crash}: {error}") from None
            if items is not None:
                break
            crash += f", and another in recovery, at {self._died_at}"
        assert items is not None
        self._in_recovery, self._armed = 0, False
        contract = contract_named(self.contract)
        violation = judge_safely(contract, Promises(events=(*self._past, *self._events)), items)
        if violation is not None:
            raise PromiseBroken(violation.verdict, f"after {crash}: {violation.explanation}")
        self._events = settled(contract, self._past, self._events, items)
        return items

    # Folders

    def _new_folder(self) -> Path:
        self._folders += 1
        (above := self._scratch / str(self._folders)).mkdir()  # It is bound where the store is to have its folder.
        return above / ROOT_NAME

    def _copy(self, folder: Path) -> Path:
        copy = self._new_folder()
        shutil.copytree(folder, copy, symlinks=True)
        return copy

    @classmethod
    def _can_cut(cls) -> bool:
        if reason := _lacking(cls.filesystem):
            event(f"no power cuts: {reason}")
        return not reason


def _failure(result: JobResult[None]) -> OperationFailed:
    match result:
        case TimedOut():
            return OperationFailed("the store hung", Verdict.HANGS)
        case Raised(claim=(verdict, explanation)):
            return OperationFailed(explanation or f"the store {result}", verdict)
        case _:
            return OperationFailed(f"the store {result}")


@functools.cache
def _lacking(filesystem: str) -> str:
    return "; ".join(f"{missing.what}: {missing.remedy}" for missing in requirements((filesystem,)))


@functools.cache
def _workshop(module: str) -> tuple[Jobs, Traces]:
    """The parts that all machines of this process share: the server that forks their stores' processes, and recordings."""
    workshop = contextlib.ExitStack()
    folder = workshop.enter_context(scratch_folder())
    jobs = workshop.enter_context(Jobs(preload=[module, "crashmatrix.scenarios.stateful.sessions"], scratch=folder))
    atexit.register(workshop.close)
    return jobs, Traces(folder)


def _module_of(make: Make) -> str:
    while isinstance(make, functools.partial):
        make = make.func
    return str(make.__module__)
