"""The jobs of the power experiment's judges: each function is the whole life of a process that looks at one trace.

A judge is pinned to one processor and has the trace's crash images to itself. `dealing` says which states it looks at,
`state_judge` mounts them, `folder_judge` gives the folders their verdicts.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crashmatrix.faults.disk import CrashImages, CrashState, Trace, enter_private_namespace, load_trace
from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.scratch import own_folder
from crashmatrix.scenarios.recorded.recording import Recording, journal_before
from crashmatrix.scenarios.recorded.state_judge import NOTHING_BEFORE, StateJudge
from crashmatrix.scenarios.recorded.state_verdict import Check, Judged, Safe, Share
from crashmatrix.scenarios.systems.loading import Target
from crashmatrix.scenarios.target.contract import Violation

__all__ = ["judge", "judge_one", "judging", "keep_state", "load_alone", "undisturbed"]


def judge(
    channel: Channel,
    target: Target,
    recording: Recording,
    number: int,
    workers: int,
    budget: int,
    verified: frozenset[Check] = frozenset(),
    until_broken: bool = False,
    lives: int = 0,
    learnt: Learnt = NOTHING_LEARNT,
    before: Mapping[str, Safe] = NOTHING_BEFORE,
) -> Share:
    """Judge this worker's share of the states, sending each `Judged` as it comes; returns the account.

    Args:
        verified: further checks that were made already, on some crash state of the run.
        until_broken: stop at the first broken promise.
        lives: how many second lives to judge at most.
        learnt: how long recoveries took so far.
        before: the folders found safe in earlier recordings (`StateJudge.all`).
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    with StateJudge(target, recording, load_alone(recording), verified, learnt) as states:
        gc.freeze()  # Else a check's collection would look at, and so copy, the whole trace.
        for judged in states.all(number, workers, budget, lives, before):
            channel.send(judged)
            if until_broken and judged.verdict.broken:
                break
        return states.share


def judge_one(_: Channel, target: Target, recording: Recording, state: str) -> Judged:
    """Judge one state by its id. Raises crashmatrix.faults.disk.InvalidState."""
    trace = load_alone(recording)
    with StateJudge(target, recording, trace, resumes=True) as states:
        return states.judge(CrashState.parse(state, trace))


def undisturbed(_: Channel, target: Target, recording: Recording) -> Violation | None:
    """Return why the target cannot be crashed, from the orderly end of a recording; None if it can."""
    with StateJudge(target, recording, load_alone(recording)) as states:
        return states.undisturbed()


@contextmanager
def judging(
    target: Target, recording: Recording, trace: Trace, *, resumes: bool = False
) -> Iterator[Callable[[CrashState], Judged]]:
    """For the block, a function that judges one state of a trace after the other, a broken one twice.

    ``resumes`` is whether safe ones get a second life, too.
    """
    with StateJudge(target, recording, trace, resumes=resumes) as states:
        yield lambda state: next(states.judge_surely(state))


def keep_state(_: Channel, recording: Recording, state: str, keep: Path) -> None:
    """Leave a state's image, its mounted folder and its journal in the folder ``keep``."""
    trace = load_alone(recording)
    crashed = CrashState.parse(state, trace)
    with CrashImages(trace) as images, own_folder(keep) as scratch:
        images.save(crashed, keep / "image")
        store = SnapshotStore(scratch)
        with images.mounted(crashed) as root:
            if not (tree := store.capture(root)).unusable:
                store.restore(tree, keep / "crashed")
    lines = (*(line.encode() for line in recording.before), *journal_before(trace, crashed.cut))
    (keep / "journal").write_bytes(b"".join(line + b"\n" for line in lines))


def load_alone(recording: Recording) -> Trace:
    """Load the trace of a recording, in a mount namespace of this process's own."""
    enter_private_namespace()  # Without root, this needs a process of one thread, so it comes before other threads start.
    return load_trace(recording.trace)
