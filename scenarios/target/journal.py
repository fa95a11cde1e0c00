"""The journal: what the workload attempted and what the system acknowledged as durable, kept outside the crash.

One line per event, handed to the kernel with one write before the call returns, so that a SIGKILL takes none of them:

    attempt <json>      about to store the item
    ack <json>          the system has called it durable
    fail <json>         the attempt ended with an error: the item may be there or not, from now on
    attempt:NAME <json>     the same, by one of several writers; so with ack:NAME and fail:NAME

A workload may attempt an item that failed once more, or go on to the next one, or stop.

A file of its own, never under the system's root. A journal line is also a place to crash: two failpoints make it one, so
that a system without failpoints of its own can still be killed between any two of its promises.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from crashmatrix.faults import declare
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.notes import DEPTH_MAX, AckNote, AttemptNote, FailNote, TwiceNamed, parse, too_deep
from crashmatrix.scenarios.target.writers import checked_name, writer_here

__all__ = ["Attempt", "Event", "Item", "Journal", "Promises", "item_key", "several_writers"]

Item = Any
"""A JSON value: what a workload stores and recovery returns."""

AFTER_ATTEMPT = declare("journal.after_attempt", "an item is about to be stored")
AFTER_ACK = declare("journal.after_ack", "an item was acknowledged just now")


_COUNTED_MAX = 100_000


def item_key(item: Item) -> str:
    """Return the item's canonical text: equal items have equal keys.

    Python's JSON module writes it, and reads an equal item: a tuple becomes a list, `nan` remains `nan`.

    Raises:
        TypeError: a part of the item is of another type, or an object's name is not a string: it would become one.
        UsageError: it is nested deeper than `notes.DEPTH_MAX`.
    """
    try:
        text = json.dumps(item, sort_keys=True, separators=(",", ":"))
    except TypeError:
        raise TypeError(_refusal(item)) from None
    except RecursionError:
        raise UsageError(too_deep(_depth(item))) from None
    if text.count("[") + text.count("{") > DEPTH_MAX and (depth := _depth(item)) > DEPTH_MAX:
        raise UsageError(too_deep(depth))
    if "{" in text and not all(
        isinstance(name, str) for part in _parts(item) if isinstance(part, dict) for name in part
    ):
        raise TypeError(_refusal(item))
    return text


def _parts(item: Item) -> Iterator[Item]:
    """Return an item and all of its parts; each list, tuple or dictionary once."""
    waiting, seen = [item], set[int]()
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, list | tuple | dict) and id(part) not in seen:
            seen.add(id(part))
            waiting += part.values() if isinstance(part, dict) else part


def _depth(item: Item) -> int:
    """Return how deep lists and objects are nested in an item; no more than is worth counting, since it may hold itself."""
    depth, level = 0, [item]
    while depth < _COUNTED_MAX and (level := [part for part in level if isinstance(part, list | tuple | dict)]):
        depth += 1
        inner = (each for part in level for each in (part.values() if isinstance(part, dict) else part))
        level = list({id(each): each for each in inner}.values())
    return depth


def _refusal(item: Item) -> str:
    """Return why an item is not a JSON value, and the remedy."""
    why = "this one cannot be written as JSON"
    for part in _parts(item):
        if isinstance(part, dict) and (names := [name for name in part if not isinstance(name, str)]):
            why = f"the names of an object are strings, and one here is of type {type(names[0]).__name__}"
            break
        if not isinstance(part, str | int | float | list | tuple | dict | None):
            why = f"this one is, or has a part, of type {type(part).__name__}"
            break
    return (
        f"an item must be a JSON value; {why}. crashmatrix.to_item(value) makes an item of such values: use it in the "
        "workload and in recover"
    )


class Attempt:
    """One attempt. As a context manager, it acknowledges when the block ends without an exception, else it has failed."""

    def __init__(self, journal: Journal, item: Item, writer: str = "") -> None:
        self._journal, self.item, self.writer = journal, item, writer
        self._acknowledged = False

    def acknowledge(self) -> None:
        """Note that the system has called the item durable."""
        self._journal.write("ack", self.item, self.writer)
        self._acknowledged = True
        AFTER_ACK.hit()

    def fail(self) -> None:
        """Note that storing the item ended with an error: the item may be there or not."""
        self._journal.write("fail", self.item, self.writer)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.acknowledge()
        elif not self._acknowledged:
            self.fail()


class Journal:
    """Appends events to the file at ``path``. Safe to share between threads: each event is one atomic append."""

    recovered: Sequence[Item] = ()
    """In a second life, the items that recovery returned before it (`SystemUnderTest.resume`)."""

    def __init__(self, path: Path, recovered: Sequence[Item] = ()) -> None:
        self.path = path
        """The file itself: a program in another language appends its lines there."""
        self.recovered = tuple(recovered)
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def __reduce__(self) -> tuple[type[Journal], tuple[Path, tuple[Item, ...]]]:
        """A process that was started, not forked, and is handed the journal opens the file for itself."""
        return Journal, (self.path, tuple(self.recovered))

    def attempt(self, item: Item, writer: str | None = None) -> Attempt:
        """Note that ``item`` is about to be stored: ``with journal.attempt(7): store(7)``.

        Args:
            writer: which of several writers; by default the name of the thread, task or process that calls (`writers`).

        Raises:
            TypeError: the item is not a JSON value; `crashmatrix.to_item` makes one of bytes, tuples and the like.
            ValueError: the writer's name has a space, a colon or a line break, or is longer than 80 characters.
            OSError: there is no room for all of the line.
        """
        name = writer_here() if writer is None else checked_name(writer)
        self.write("attempt", item, name)
        AFTER_ATTEMPT.hit()
        return Attempt(self, item, name)

    def write(self, kind: Literal["attempt", "ack", "fail"], item: Item, writer: str = "") -> None:
        """Append one event. Raises TypeError, and OSError if there is no room for all of it."""
        note = {"attempt": AttemptNote, "ack": AckNote, "fail": FailNote}[kind]
        self.append(note(item_key(item).encode(), writer).encoded())

    def append(self, line: bytes) -> None:
        """Hand one line, given without its line break, to the kernel."""
        line += b"\n"
        if os.write(self._fd, line) < len(line):
            raise OSError(errno.ENOSPC, "no room for the journal")

    def tick(self) -> None:
        """Called every few milliseconds while a program of another language runs, by the code that started it."""


@dataclass(frozen=True)
class Event:
    """One journal line."""

    kind: Literal["attempt", "ack", "fail"]
    item: Item
    writer: str = field(default="", repr=False)
    """Which of several writers. It is not part of `Promises.text`: names may differ between runs."""
    until: float | None = field(default=None, repr=False)
    """The end of an attempt that has none in this journal, if another journal shows more of what its writer did (`Tables`)."""


@dataclass(frozen=True)
class Promises:
    """The promises that recovery owes: the items there from the start, and the journal up to the crash."""

    initial: tuple[Item, ...] = ()
    events: tuple[Event, ...] = ()

    @classmethod
    def parse(cls, journal: bytes, initial: Sequence[Item] = ()) -> Promises:
        """Read a journal; a last line without its newline was never finished and does not count.

        Raises:
            UsageError: a line is neither an attempt, an acknowledgement nor a failure (a journal written by hand).
        """
        lines = journal.split(b"\n")[:-1]
        return cls(tuple(initial), tuple(_event(number, line) for number, line in enumerate(lines, 1)))

    @cached_property
    def text(self) -> str:
        """As `str`, made once: many states share the promises of one crash."""
        return str(self)

    @property
    def attempted(self) -> list[Item]:
        """Every item attempted, in order, the initial ones first."""
        return [*self.initial, *(event.item for event in self.events if event.kind == "attempt")]

    @property
    def acknowledged(self) -> list[Item]:
        """Every item acknowledged, in order, the initial ones first."""
        return [*self.initial, *(event.item for event in self.events if event.kind == "ack")]


def several_writers(promises: Promises) -> int:
    """Return how many writers attempted something, if they are more than one, else 0."""
    writers = {event.writer for event in promises.events}
    return len(writers) if len(writers) > 1 else 0


def _event(number: int, line: bytes) -> Event:
    try:
        match parse(line):
            case AttemptNote() as note:
                return Event("attempt", note.value(), note.writer)
            case AckNote() as note:
                return Event("ack", note.value(), note.writer)
            case FailNote() as note:
                return Event("fail", note.value(), note.writer)
    except TwiceNamed as error:
        raise UsageError(f"journal line {number}: {error}; fix the workload") from None
    except UsageError as error:
        raise UsageError(f"journal line {number}: {error}") from None
    except ValueError:
        pass
    raise UsageError(
        f"journal line {number} is none of 'attempt <json>', 'ack <json>' and 'fail <json>': {line[:60]!r}"
    )
