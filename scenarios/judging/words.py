"""Words that the explanations of all experiments share: what had been acknowledged, and long texts shortened."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence

from crashmatrix.reports import Event
from crashmatrix.reports.formats.text import counted
from crashmatrix.scenarios.judging.locations import raised_at
from crashmatrix.scenarios.processes.result import JobResult, Raised
from crashmatrix.scenarios.target.notes import AckNote, AttemptNote, FailNote, acknowledgements, parse

__all__ = [
    "EVENTS_MAX",
    "HALF_DONE",
    "NOT_CONFIRMED",
    "acknowledged",
    "advice_on",
    "besides_the_contract",
    "by_server",
    "counted",
    "latest",
    "noted",
    "shown",
    "where",
]

EVENTS_MAX = 200
"""How many events before a crash a finding's timeline shows."""

HALF_DONE = (
    "Write it under another name, sync it, and rename it once it is whole; or let recovery tell a part from the whole."
)
"""Advice if recovery fails on a file that a crash left half written, before its item was acknowledged."""

NOT_CONFIRMED = "not confirmed: "
"""Begins a cause whose remedy did not help."""

_SHOWN_CHARACTERS = 80


def besides_the_contract(verified: str, repeated: int) -> str:
    """Say what was checked besides the contract; empty if nothing was.

    Args:
        verified: where the system's own `verify` passed; empty if nowhere.
        repeated: in how many recovered folders recovery was repeated.
    """
    own = f"the system's own verify passed in {verified}" if verified else ""
    again = f"recovery was repeated in {counted(repeated, 'recovered folder')}" if repeated else ""
    return f"besides the contract: {'; '.join(filter(None, [own, again]))}" if own or again else ""


def acknowledged(lines: Sequence[str], initial: int = 0, *, killed: bool = False) -> str:
    """How much was acknowledged, and by which journal line last; ``initial`` items were there before the workload.

    If the workload was ``killed`` and the system resumed, attempts have failed that were in flight at the kill.
    """
    there = f" {counted(initial, 'item')} {'was' if initial == 1 else 'were'} there from the start." if initial else ""
    acks = acknowledgements(lines)
    there = _failed(lines, "failed or were cut off by the kill" if killed else "failed") + there
    attempts = sum(isinstance(parse(line), AttemptNote) for line in lines)
    if not acks:
        attempted = f"{counted(attempts, 'item')} {'was' if attempts == 1 else 'were'} attempted"
        return f"Nothing was acknowledged yet; {attempted}.{there}"
    last, note = acks[-1]
    item = shown(note.text)
    if len(acks) == attempts == 1:
        return f"Item {item} was acknowledged (journal line {last}).{there}"
    some = f"{len(acks):,} of {counted(attempts, 'attempted item')} {'was' if len(acks) == 1 else 'were'}"
    if len(acks) == attempts:
        some = f"All {attempts:,} attempted items were"
    return f"{some} acknowledged, the last one, {item}, by journal line {last}.{there}"


def _failed(lines: Sequence[str], how: str) -> str:
    failed = [note for note in map(parse, lines) if isinstance(note, FailNote)]
    if not failed:
        return ""
    how = how.replace("were", "was") if len(failed) == 1 else how
    return f" {counted(len(failed), 'attempt')} {how}, the last one that of {shown(failed[-1].text)}."


def noted(at: int, line: str | bytes) -> Event:
    """A journal line as an event of a timeline."""
    match parse(line):
        case AttemptNote() as note:
            return Event(at=at, kind="attempt", text=note.text)
        case AckNote() as note:
            return Event(at=at, kind="ack", text=note.text)
        case FailNote() as note:
            return Event(at=at, kind="note", text=f"the attempt of {note.text} failed")
    return Event(at=at, kind="note", text=line if isinstance(line, str) else line.decode(errors="replace"))


def by_server(printed: str) -> str:
    """The output of a server while it recovered, to stand behind a violation; quoted, so that it separates no findings."""
    return f"; the server printed {json.dumps(printed, ensure_ascii=False)}" if printed else ""


def latest(events: Sequence[Event]) -> list[Event]:
    """The last events before a crash, as many as a timeline shows; if others came before, it says so."""
    if len(events) <= EVENTS_MAX:
        return [*events]
    return [
        Event(at=events[-EVENTS_MAX].at, kind="note", text="what came before is left out"),
        *events[-EVENTS_MAX:],
    ]


def shown(text: str) -> str:
    """Text, shortened."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def advice_on(how: str) -> str:
    """Advice to a system that was refused a write, given how it ended; else empty."""
    if os.strerror(errno.EROFS) not in how:
        return ""
    return ". It may write to its folder, its workspace and /tmp only; `setup`, or `build`, may write anywhere"


def where(result: JobResult[object]) -> str:
    """Return the line of the target that raised, in brackets after a space; empty if nothing was raised, or none is known."""
    place = raised_at(result.traceback) if isinstance(result, Raised) else ""
    return f" ({place})" if place else ""
