"""From broken scenarios to findings: the simplest fault that shows each, and the run with it, step by step."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Event, Finding, ScenarioResult
from crashmatrix.reports.findings import Group, group
from crashmatrix.scenarios.io_error.again import again, again_on_disk
from crashmatrix.scenarios.io_error.disk.plan import VARIANTS_ON_DISK
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import FULL, SMALL, ActionFault, Fault, PointFault, RequestFault
from crashmatrix.scenarios.io_error.messages import (
    CUT,
    CUT_LATER,
    KILLED,
    KILLED_LATER,
    REMOUNTED,
    REOPENED,
    RESUMED,
    UNCACHED,
    Place,
    call_of,
    what_failed,
)
from crashmatrix.scenarios.io_error.plan import ENDINGS, POINT_VARIANTS, VARIANTS, parse_id
from crashmatrix.scenarios.io_error.runs import FaultyRun, Prepared
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.judging.words import acknowledged, latest, noted, shown
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.target.notes import AckNote, FailNote

__all__ = ["Explainer", "cause_of"]

_FINDINGS_MAX = 8
_ITEMS_SHOWN = 5

_ENDINGS = {
    KILLED: "The process was killed at its first step after that, and the system opened again.",
    KILLED_LATER: "The process was killed once the next item was acknowledged, and the system opened again.",
    REOPENED: "The workload came to its own end, and the system was opened again.",
    UNCACHED: "Then the page cache was dropped, and the system opened again. The failed sync had left pages clean that were "
    "never written, so that later syncs passed them over.",
    REMOUNTED: "The workload came to its own end. The disk was mounted again, so that nothing of the page cache was left, "
    "and the system opened.",
    CUT: "The power failed right after that, and the system was opened on what the disk held.",
    CUT_LATER: "The power failed later: after the next acknowledgement, or at the end of the workload.",
    RESUMED: "The workload came to its own end. The system was opened again, went on, and was opened once more.",
}

_HANDLING = "The process was killed later, while it handled the error: after its {}. Then the system was opened again."

_ONCE = (
    "This was seen in one run, whose own folder was judged. None of the runs that were made again with the same fault shows it: "
    "the workload does not take the same steps each time, so the fault meets other calls."
)

_PROBLEMS = {
    "disk-write": "the disk fails a write",
    "disk-flush": "the disk fails a flush",
    "disk-read": "the disk fails a read",
    FULL: "the disk is full",
    SMALL: "the data fills the disk",
}


def cause_of(prepared: Prepared, fault: Fault, run: FaultyRun) -> str:
    """Return in one line which call failed, and what the workload did then: the same for all faults of one cause."""
    if run.fired is None:
        return ""
    how = "a short" if fault.short else "a failed"
    done = "and the workload acknowledges more" if run.went_on else "and the workload stops"
    if isinstance(fault, RequestFault):
        if fault.call:
            name, _, files = run.fired.files.partition(" ")
            return f"{how} {what_failed(name, files).rstrip()}, on a recorded disk, {done}"
        return f"{_PROBLEMS[fault.calls]}, {done}"
    if isinstance(fault, PointFault | ActionFault):
        return f"an error at failpoint {fault.calls}, {done}"
    line = _line(prepared, run.fired)
    name, _, files = what_failed(run.fired.made.name, run.fired.files).partition(" ")
    return f"{how} {call_of(name, files)}{f' ({line})' if line else ''}, {done}"


def _line(prepared: Prepared, place: Place) -> str:
    """The source line of a call, as known from the undisturbed run."""
    same = (place.made.calls, place.made.number, place.made.name)
    for known in prepared.profile.places:
        if (known.made.calls, known.made.number, known.made.name) == same:
            return known.line
    return ""


class Explainer:
    """Explains what an experiment found."""

    def __init__(
        self,
        checker: Checker,
        prepared: Prepared,
        results: Sequence[ScenarioResult],
        disks: Mapping[str, DiskSource] | None = None,
        met: Mapping[str, str] | None = None,
    ) -> None:
        self._checker, self._prepared, self._results, self._disks = checker, prepared, results, disks or {}
        self._met = met or {}
        self.notes: list[str] = []

    def findings(self) -> list[Finding]:
        """Explain each kind of broken promise, up to a number."""
        groups = [found for found in group(self._results) if found.finding.verdict.broken]
        if len(groups) > _FINDINGS_MAX:
            self.notes.append(f"{_FINDINGS_MAX} of {len(groups)} findings are explained step by step")
        return [self._explain(found) for found in groups[:_FINDINGS_MAX]]

    def _explain(self, found: Group) -> Finding:
        example = min(found.results, key=_simplicity)
        fault, ending = parse_id(example.id)
        run, checked = self._again(fault, ending, self._met.get(str(fault), ""))
        finding = replace(found.finding, example=example.id, replay=example.replay)
        if run.fired is None or not checked.verdict.broken:
            return replace(finding, explanation=(example.explanation, _ONCE))
        finding = replace(finding, cause=cause_of(self._prepared, fault, run))  # It may have met another call.
        failed = run.account.failed if run.account else 1
        promises = run.promises(ending)
        events = promises.events if promises else ()
        stop = run.worst.get(ending)
        ended = _HANDLING.format(stop.after) if stop and stop.after else _ENDINGS[ending]
        lines = run.journal.decode(errors="replace").splitlines()[: len(events)]
        return replace(
            finding,
            explanation=(
                self._call(fault, run.fired, failed),
                f"{self._answered(run)}{ended}",
                acknowledged(lines, len(self._prepared.items)),
                f"Then: {checked.explanation}.",
            ),
            timeline=_timeline(run, ended, len(events), checked.explanation),
        )

    def _again(self, fault: Fault, ending: str, met: str) -> tuple[FaultyRun, Checked]:
        """Run with a fault, step by step, until the promise is broken once more; the last run if it is not."""
        if isinstance(fault, RequestFault):
            return again_on_disk(self._disks[fault.filesystem], fault, ending)
        found = again(self._checker, self._prepared, fault, ending, met=met, keep_steps=True)
        remove_tree(found.folder)
        return found.run, found.checked

    def _call(self, fault: Fault, place: Place, failed: int) -> str:
        made = place.made
        if isinstance(fault, RequestFault):
            return _on_disk(fault, place, failed)
        if isinstance(fault, ActionFault):
            more = "" if fault.times == "once" else " and at each later one"
            return f"Failpoint {fault.calls} took the action {fault.action} at hit {fault.number}{more}."
        if isinstance(fault, PointFault):
            more = "" if fault.times == "once" else " and at each later one"
            return f"Failpoint {fault.calls} raised {fault.errno} at hit {fault.number}{more}."
        line = _line(self._prepared, place)
        which = f"Call {made.number} of class {fault.calls}, {call_of(made.name, place.files)}{f' ({line})' if line else ''}"
        if fault.short:
            return f"{which}, was done in part: {made.answer} bytes{_then(fault)}."
        more = f", and {failed - 1} more after it" if failed > 1 else ""
        return f"{which}, failed with {fault.errno}{more}."

    def _answered(self, run: FaultyRun) -> str:
        """The answers to the workload, and its acknowledgements after the fault."""
        failed = [note.text for note in run.after_fault if isinstance(note, FailNote)]
        acked = [note.text for note in run.after_fault if isinstance(note, AckNote)]
        parts = []
        if failed:
            parts.append(f"The attempt of {_some(failed)} failed. ")
        parts.append(
            f"Acknowledged after the fault: {_some(acked)}. " if acked else "Nothing was acknowledged after that. "
        )
        if not isinstance(run.result, Returned):
            parts.append(f"The workload {shown(str(run.result))}. ")
        return "".join(parts)


def _then(fault: Fault) -> str:
    """The error that follows a call that was done in part, if one does."""
    return f", and the next one failed with {fault.errno}" if fault.errno else ""


def _on_disk(fault: RequestFault, place: Place, failed: int) -> str:
    if fault.calls == SMALL:
        return f"The disk under {fault.filesystem} had {fault.number:,} KiB of room, and the data filled it."
    if fault.calls == FULL:
        until = "until the first attempt had failed" if fault.times == "once" else "until the workload had ended"
        return f"The disk under {fault.filesystem} had {fault.number:,} KiB of room left, {until}."
    if fault.call:
        how = f"was done in part{_then(fault)}" if fault.short else f"failed with {fault.errno}"
        return f"On {fault.filesystem}, call {fault.number} of class {fault.call.calls}, {place.files}, {how}."
    more = f", and {failed - 1} more after it" if failed > 1 else ""
    which = fault.calls.removeprefix("disk-")
    return (
        f"The disk under {fault.filesystem} failed its {which} {fault.number} ({place.files}) with {fault.errno}{more}."
    )


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _ITEMS_SHOWN} more" if len(items) > _ITEMS_SHOWN else ""
    return ", ".join(shown(item) for item in items[:_ITEMS_SHOWN]) + more


def _simplicity(result: ScenarioResult) -> tuple[int, int, int]:
    """Simple faults first, then simple endings, then early calls."""
    fault, ending = parse_id(result.id)
    variant = f"{fault.error}~{fault.times}"
    known: tuple[str, ...] = tuple(f"raise({error})~{times}" for error, times in POINT_VARIANTS)
    if isinstance(fault, RequestFault):
        calls = fault.call.calls if fault.call else fault.calls
        on_disk = tuple("~".join(variant) for variant in VARIANTS_ON_DISK.get(calls, ()))
        known = VARIANTS[calls] if fault.call else on_disk
    else:
        known = VARIANTS.get(fault.calls, known)
    return known.index(variant) if variant in known else len(known), ENDINGS.index(ending), fault.number


def _timeline(run: FaultyRun, ended: str, lines: int, outcome: str) -> tuple[Event, ...]:
    """The run's steps up to its ending."""
    events, at, seen = list[Event](), 0, 0
    for at, step in enumerate(run.account.steps if run.account else ()):
        kind, _, text = step.partition(" ")
        if kind == "line":
            seen += 1
            if seen > lines:
                break
            events.append(noted(at, text))
        elif " -> -" in text or (" -> " in text and text.rpartition(" -> ")[2].isdecimal()):
            call, _, answer = text.rpartition(" -> ")
            events.append(Event(at=at, kind="note", text=f"{call} {_as_answered(int(answer))}"))
        else:
            events.append(Event(at=at, kind="write", text=text, fate="kept"))
    cut = Event(at=at, kind="cut", text=ended)
    return (*latest(events), cut, Event(at=at, kind="recovered", text=outcome))


def _as_answered(answer: int) -> str:
    """Say how a call ended that was not let through: below 0 by an error, else in part, with this result."""
    return f"fails with {errno.errorcode.get(-answer, -answer)}" if answer < 0 else f"is done in part: {answer}"
