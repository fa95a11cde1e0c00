"""The set of a log's batches that are durable elsewhere, if these are not all batches up to some id; and its file.

The engine needs no file: its generations are contiguous from the oldest, and the marker in Delta says how far they reach. A
set of ids marked through `WriteAheadLog.mark_persisted` is kept in the log's own folder, in ``persisted``, one line:

    0-57,60-61 CHECKSUM        (ranges of ids; XXH3-64 of what stands before, salted with the log's identity)

Write order: 1. the whole set to ``persisted.tmp``; sync it; 2. rename it over ``persisted``; sync the folder. ── promise ──
Only then may segments go, since the file also says which ids without a segment are persisted and not missing. A crash finds
the old set or the new one: marks are never taken back, so either set is right for marks not yet acknowledged.

The file grows with the holes in the set, not with the ids.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from crashmatrix.reference_wal.atomic_file import atomic_file
from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log.segments.seal import checksum

__all__ = ["PERSISTED", "IdSet", "read_persisted", "write_persisted"]

PERSISTED = "persisted"
"""The file's name in the log's folder."""

_LINE = re.compile(rb"(\d+-\d+(?:,\d+-\d+)*|none) ([0-9a-f]{16})\n")

PERSIST = atomic_file("wal.persist", "the new set")


class IdSet:
    """A set of ids, kept as ranges ``(first, last)``: disjoint, not adjacent, in order."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.ranges: list[tuple[int, int]] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Add all ids from ``first`` to ``last``; none if ``last`` is smaller."""
        if last < first:
            return
        low = bisect_left(self.ranges, first - 1, key=lambda found: found[1])
        high = bisect_right(self.ranges, last + 1, key=lambda found: found[0])
        touched = [(first, last), *self.ranges[low:high]]
        self.ranges[low:high] = [(min(f for f, _ in touched), max(last for _, last in touched))]

    def update(self, ids: Iterable[int]) -> None:
        """Add each of these ids."""
        if isinstance(ids, range) and ids.step == 1:
            self.add(ids.start, ids.stop - 1)
            return
        for batch_id in ids:
            self.add(batch_id, batch_id)

    def covers(self, first: int, last: int) -> bool:
        """Whether every id from ``first`` to ``last`` is in the set."""
        return next(self.missing(first, last), None) is None

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges between ``first`` and ``last`` that are not in the set."""
        for start, end in self.ranges:
            if first < start <= last:
                yield first, start - 1
            first = max(first, end + 1) if start <= last else first
        if first <= last:
            yield first, last

    @property
    def span(self) -> tuple[int, int]:
        """The smallest and the largest id; 0 and -1 if there is none."""
        return (self.ranges[0][0], self.ranges[-1][1]) if self.ranges else (0, -1)

    def __contains__(self, batch_id: int) -> bool:
        return self.covers(batch_id, batch_id)

    def __str__(self) -> str:
        return ",".join(f"{first}-{last}" for first, last in self.ranges) or "none"

    def copy(self) -> IdSet:
        """Return a set of its own with the same ids."""
        return IdSet(self.ranges)


def write_persisted(folder: Path, identity: str, ids: IdSet) -> None:
    """Replace the folder's set; durable on return. Raises OSError: the old set or the new one is there."""
    line = str(ids).encode()
    # Durable before a segment is retired because of it: a power cut could bring the old set back.
    PERSIST.put(folder / PERSISTED, b"%b %016x\n" % (line, _check(line, identity)), temporary=f"{PERSISTED}.tmp")


def read_persisted(folder: Path, identity: str) -> IdSet:
    """Return the folder's set; empty if none was ever written. Raises LogCorrupted."""
    path = folder / PERSISTED
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return IdSet()
    match = _LINE.fullmatch(data)
    if match is None or int(match[2], 16) != _check(match[1], identity):
        raise LogCorrupted(path, "the set of persisted batches is damaged or another log's", offset=0)
    if match[1] == b"none":
        return IdSet()
    ranges = (part.split("-") for part in match[1].decode().split(","))
    return IdSet((int(first), int(last)) for first, last in ranges)


def _check(line: bytes, identity: str) -> int:
    return checksum(line, checksum(identity.encode()))
