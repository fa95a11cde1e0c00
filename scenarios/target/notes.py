"""The text lines of a journal and of a recording, each written and parsed here and nowhere else.

    attempt <json>          the workload is about to store this item
    ack <json>              the system has called this item durable
    fail <json>             the attempt to store this item ended with an error
    attempt:NAME <json>     the same by one of several writers; its ack:NAME or fail:NAME has the same name
    hit <failpoint> <n>     hit number n of a failpoint; in recordings only
    recovered <json>        the items that an opening of the store found; in recordings of state machines only

A journal holds attempts, acknowledgements and failures. A recording holds the same lines as notes between the operations of
the disk, with the hits of failpoints among them. ``note.encoded()`` gives the line without its line break, and `parse` reads one.
`parse` never fails: a line of another kind is an `OtherNote`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from crashmatrix.scenarios.errors import UsageError

__all__ = [
    "DEPTH_MAX",
    "KILLED",
    "RESUMED",
    "AckNote",
    "AnyNote",
    "AttemptNote",
    "FailNote",
    "HitNote",
    "OtherNote",
    "RecoveredNote",
    "TwiceNamed",
    "acknowledgements",
    "json_value",
    "parse",
    "too_deep",
]

DEPTH_MAX = 200
"""How deep the lists and objects of an item may be nested: Python copies and compares such values whatever calls it."""


class TwiceNamed(ValueError):
    """An object in a JSON text has two values of one name: each reader takes another one for the object's."""


def json_value(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, TwiceNamed, UsageError: it is nested too deep."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise UsageError(too_deep()) from None


def too_deep(depth: int = 0) -> str:
    """Return why an item that is nested so deep is refused, and the remedy."""
    many = f"{depth:,}" if depth else "too many"
    return (
        f"an item is made of {many} lists and objects inside one another; at most {DEPTH_MAX} can be compared. Store a flatter "
        "item, or its JSON as a string, in the workload and in recover"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise TwiceNamed(f"an object has the name {twice!r} twice, so it is not clear which item it is")
    return values


@dataclass(frozen=True)
class _JsonNote:
    """A note that carries a JSON value, as the bytes that stand in the line: a program may write any spelling, or none."""

    json: bytes
    writer: str = ""
    """Which of several writers; empty if there is one."""
    kind: ClassVar[bytes] = b""

    def encoded(self) -> bytes:
        """Return the line."""
        name = b":" + self.writer.encode() if self.writer else b""
        return self.kind + name + b" " + self.json

    def value(self) -> Any:
        """Return the value. Raises ValueError if the bytes are not JSON, TwiceNamed."""
        return json_value(self.json)

    @property
    def text(self) -> str:
        """The JSON as it stands in the line, for messages."""
        return self.json.decode(errors="replace")


class AttemptNote(_JsonNote):
    """The workload is about to store an item."""

    kind = b"attempt"


class AckNote(_JsonNote):
    """The system has called an item durable."""

    kind = b"ack"


class FailNote(_JsonNote):
    """An attempt to store an item ended with an error."""

    kind = b"fail"


class RecoveredNote(_JsonNote):
    """A store was opened and holds these items."""

    kind = b"recovered"


@dataclass(frozen=True)
class HitNote:
    """A failpoint was hit; ``number`` counts its hits from 1."""

    name: str
    number: int

    def encoded(self) -> bytes:
        """Return the line."""
        return f"hit {self.name} {self.number}".encode()


@dataclass(frozen=True)
class OtherNote:
    """A line of no kind known here."""

    line: bytes

    def encoded(self) -> bytes:
        """Return the line."""
        return self.line


AnyNote = AttemptNote | AckNote | FailNote | HitNote | RecoveredNote | OtherNote

KILLED = HitNote("workload.killed", 1)
"""The workload's process was killed here; what follows is recovery."""

RESUMED = HitNote("workload.resumed", 1)
"""It has recovered from that; what follows is its second life."""

_WITH_JSON = {note.kind: note for note in (AttemptNote, AckNote, FailNote, RecoveredNote)}


def parse(line: bytes | str) -> AnyNote:
    """Read one line, given without its line break."""
    if isinstance(line, str):
        line = line.encode()
    kind, space, rest = line.partition(b" ")
    kind, colon, writer = kind.partition(b":")
    if space and (note := _WITH_JSON.get(kind)) and bool(colon) == bool(writer):
        return note(rest, writer.decode(errors="backslashreplace"))
    if space and kind == b"hit":
        name, _, number = rest.decode(errors="replace").rpartition(" ")
        return HitNote(name, int(number) if number.isdecimal() else 0)
    return OtherNote(line)


def acknowledgements(lines: Iterable[str]) -> list[tuple[int, AckNote]]:
    """Return the acknowledgements among the lines of a journal, each with its line number from 1."""
    notes = ((number, parse(line)) for number, line in enumerate(lines, 1))
    return [(number, note) for number, note in notes if isinstance(note, AckNote)]
