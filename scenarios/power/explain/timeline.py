"""A recorded run up to a power cut, event by event, for a finding's timeline."""

from __future__ import annotations

from collections.abc import Mapping

from crashmatrix.faults.disk import Change, CrashState, Failure, Flush, Mark, Note, Operation, Sync, Trace
from crashmatrix.faults.disk.trace.named import Named, in_words
from crashmatrix.faults.disk.trace.operations import SECTOR_BYTES, Data, Write, sectors_of
from crashmatrix.reports import Event
from crashmatrix.scenarios.judging.words import EVENTS_MAX, noted
from crashmatrix.scenarios.power.explain.places import is_harness
from crashmatrix.scenarios.target.notes import HitNote, parse

__all__ = ["timeline"]


def timeline(
    trace: Trace,
    state: CrashState,
    names: Mapping[int, tuple[Named, ...]],
    declared: Mapping[str, str],
    *,
    outcome: str,
    synced: Mapping[int, str] | None = None,
) -> tuple[Event, ...]:
    """Return the last events before the cut, the cut, and what became of it.

    Args:
        names: what each change is about, by position.
        declared: where failpoints are declared, by name.
        outcome: what recovery returned, or how it failed.
        synced: what each sync was of, by position, if known.
    """
    fates = _fates(trace, state)
    events: list[Event] = []
    for at in range(state.cut - 1, -1, -1):
        if len(events) == EVENTS_MAX:
            events.append(Event(at=at, kind="note", text="what came before is left out"))
            break
        if event := _event(at, trace.operations[at], names, declared, fates, synced or {}):
            events.append(event)
    ended = [Event(at=state.cut, kind="cut", text="the power fails", detail=str(state))]
    ended.append(Event(at=state.cut, kind="recovered", text=outcome))
    return (*reversed(events), *ended)


def _fates(trace: Trace, state: CrashState) -> dict[int, str]:
    """The fate of each change that was not durable: kept, lost or torn."""
    pending = trace.pending(state.cut)
    fates = {at: "kept" if state.kept >> index & 1 else "lost" for index, at in enumerate(pending)}
    return {**fates, **{pending[tear.write]: "torn" for tear in state.tears}}


def _event(
    at: int,
    operation: Operation,
    names: Mapping[int, tuple[Named, ...]],
    declared: Mapping[str, str],
    fates: Mapping[int, str],
    synced: Mapping[int, str],
) -> Event | None:
    match operation:
        case Note(line):
            return _note(at, line, declared)
        case Mark(mark):
            words = {"start": "the workload starts", "finish": "the workload has ended"}
            return Event(at=at, kind="note", text=words.get(mark, mark))
        case Flush():
            return Event(at=at, kind="flush", text="everything written before is on the disk")
        case Sync():
            return Event(at=at, kind="flush", text=f"fsync of {synced[at]}" if synced.get(at) else "fsync")
        case Failure(request, _, _, errno):
            return Event(at=at, kind="note", text=f"the disk fails a {request} with errno {errno}")
    if isinstance(operation, Change):
        text = "; ".join(in_words(names.get(at, ()))[:4]) or "a change"
        return Event(at=at, kind="write", text=text, fate=fates.get(at, "durable"), detail=_place(operation))
    return None


def _note(at: int, line: bytes, declared: Mapping[str, str]) -> Event | None:
    match parse(line):
        case HitNote() as hit if is_harness(hit):  # The line beside it says the same.
            return None
        case HitNote(name, number):
            return Event(at=at, kind="hit", text=f"{name}, hit {number}", detail=declared.get(name, ""))
    return noted(at, line)


def _place(change: Write | Data | object) -> str:
    match change:
        case Write(offset, data):
            first = offset // SECTOR_BYTES
            return f"sectors {first:,} to {first + len(data) // SECTOR_BYTES - 1:,} of the disk"
        case Data() as data_:
            count = sectors_of(data_)
            return f"{count:,} sector{'' if count == 1 else 's'}"
    return ""
