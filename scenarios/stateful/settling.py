"""After a crash, an attempt that the crash interrupted and that did not come back is over: later items are no gap after it.

    push 1 (ends)    push 1 (killed)    crash: [1]        the second push is forgotten
    push 1 (ends)    push 1 (killed)    crash: [1, 1]     it came back, and counts from now on

Equal items are attempts of their own, so its item does not identify an attempt. It came back if the contract is broken without
it. If the contract holds without it, nothing that came back is its work, or it changed nothing that a reader can tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from crashmatrix.scenarios.target.contract import Contract, is_built_in, judge_safely
from crashmatrix.scenarios.target.journal import Event, Item, Promises, item_key
from crashmatrix.scenarios.target.notes import RecoveredNote, parse

__all__ = ["events_in", "settled"]


def settled(contract: Contract, past: Sequence[Event], events: Sequence[Event], items: Sequence[Item]) -> list[Event]:
    """Return the events without the attempts that are over, given what came back; ``past`` came before them.

    A contract of the user's own may mean something else by its items, and judges all of them.
    """
    kept = list(events)
    if not is_built_in(contract):
        return kept
    for at in reversed(range(len(kept))):  # The last one first: those before it came back from an earlier crash.
        if _is_open(kept, at):
            without = [*kept[:at], *kept[at + 1 :]]
            if judge_safely(contract, Promises(events=(*past, *without)), items) is None:
                kept = without
    return kept


def events_in(contract: Contract, past: Sequence[Event], notes: Sequence[bytes]) -> list[Event]:
    """Return the events that notes tell of, without the attempts that were over when a recovery ended; ``past`` came before."""
    events: list[Event] = []
    for note in notes:
        match parse(note):
            case RecoveredNote() as recovered:
                events = settled(contract, past, events, recovered.value())
            case _:
                events += Promises.parse(note + b"\n").events
    return events


def _is_open(events: Sequence[Event], at: int) -> bool:
    """Whether an attempt was interrupted: the store does one thing at a time, so an end follows its attempt at once."""
    end = events[at + 1] if at + 1 < len(events) else None
    if events[at].kind != "attempt":
        return False
    return end is None or end.kind == "attempt" or item_key(end.item) != item_key(events[at].item)
