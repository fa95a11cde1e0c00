"""A scenario is reproduced: the workload is run with the same fault until it breaks its promise once more, at most so many times.

The id of a fault counts calls of all threads and processes. If these take turns otherwise in another run, the N-th write of that
run is another write, and says little. So the next run fails the nearest call of the same kind about the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import Fault, RequestFault
from crashmatrix.scenarios.io_error.judge import Judge
from crashmatrix.scenarios.io_error.messages import Place, what_failed
from crashmatrix.scenarios.io_error.plan import ENDINGS
from crashmatrix.scenarios.io_error.runs import FaultyRun, Prepared, run_with
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.processes.calls.call_faults import CallFault
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["RUNS_MAX", "Again", "again", "again_on_disk", "comes_about_alike"]

RUNS_MAX: Final = 5
"""How many runs are made until one shows what is looked for."""

_DISK_RUNS_MAX: Final = 3
"""The same on a recorded disk, where a run takes longer."""


@dataclass(frozen=True)
class Again:
    """The last run of a fault, its verdict at one ending, and its folder, which the caller removes."""

    run: FaultyRun
    checked: Checked
    folder: Path
    alike: bool
    """Whether the first run did the same before the fault as the undisturbed one, and met the call that was to fail."""
    numbers: tuple[int, ...] = ()
    """Which call of the class was to fail, run by run."""


def again(
    checker: Checker, prepared: Prepared, fault: Fault, ending: str, *, met: str = "", keep_steps: bool = False
) -> Again:
    """Run the workload with a fault until this ending breaks a promise, unless a run has shown that it does not.

    Args:
        met: the call that failed when it broke a promise (`what_failed`); empty if that is not known.
    """
    judge, called, tried = Judge(checker), list[str](), [fault]
    places = [(place.made.number, what_failed(place.made.name, place.files)) for place in _of(prepared, fault)]
    for number in range(1, RUNS_MAX + 1):
        folder = checker.folder()
        run = run_with(checker, prepared, [tried[-1]], ENDINGS, folder, keep_steps=keep_steps)
        judged = judge.judge(tried[-1], run)
        checked = _at(ending, {name: each for name, (each, _) in judged.items()})
        alike = number == 1 and comes_about_alike(prepared, run) and met in ("", run.met)
        called += [f"{run.fired.made.name} {run.fired.files}"] if run.fired else []
        if checked.verdict.broken or alike or number == RUNS_MAX:
            break
        remove_tree(folder)
        places += run.account.of_class if run.account else ()
        tried.append(_nearest(fault, tried, (at for at, what in places if what == met)))
    if called and number > 1 and not checked.verdict.broken:
        checked = Checked(checked.verdict, f"{_differing(number, called)}{checked.explanation}")
    return Again(run, checked, folder, alike, tuple(each.number for each in tried))


def _nearest(fault: Fault, tried: list[Fault], numbers: Iterable[int]) -> Fault:
    """Return the fault at the nearest of these calls that was not tried; the fault itself if there is none."""
    known = {each.number for each in tried}
    number = min(set(numbers) - known, key=lambda at: abs(at - fault.number), default=fault.number)
    return replace(fault, number=number) if isinstance(fault, CallFault) else fault


def _of(prepared: Prepared, fault: Fault) -> list[Place]:
    return [place for place in prepared.profile.places if place.made.calls == fault.calls]


def comes_about_alike(prepared: Prepared, run: FaultyRun) -> bool:
    """Whether a run did the same until the fault as the undisturbed one, as far as its journal and the call itself show."""
    if run.fired is None:
        return False
    try:
        events = Promises.parse(run.journal[: run.journal_at_fault], prepared.items).events
    except UsageError:
        return False
    made = run.fired.made
    known = [*prepared.profile.places, *prepared.points]
    place = next((each for each in known if (each.made.calls, each.made.number) == (made.calls, made.number)), None)
    same = place is not None and what_failed("", place.files) == what_failed("", run.fired.files)
    return same and events == prepared.end.promises.events[: len(events)]


def again_on_disk(disk: DiskSource, fault: RequestFault, ending: str) -> tuple[FaultyRun, Checked]:
    """As `again`, on a recorded disk. A kernel does not make the same requests each time."""
    for _ in range(_DISK_RUNS_MAX):
        _, run, judged = disk.again(fault)
        checked = _at(ending, {name: each for name, (each, _) in judged.items()})
        if checked.verdict.broken or fault.call:
            break
    return run, checked


def _at(ending: str, judged: Mapping[str, Checked]) -> Checked:
    unmet = next((each for each in judged.values() if each.verdict is Verdict.UNKNOWN), None)
    return judged.get(ending) or unmet or Checked(Verdict.UNKNOWN, f"the run has no ending {ending} this time")


def _differing(runs: int, called: list[str]) -> str:
    """Say that a scenario could not be reproduced for certain."""
    return (
        f"not broken in {runs} runs. They differ from the undisturbed run before the fault: the workload does not take the same "
        f"steps each time. The calls that failed: {', '.join(dict.fromkeys(called))}. "
    )
