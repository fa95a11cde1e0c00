"""Each byte of a small file is changed, one at a time: the engine says which file, or has the same rows.

`damage` draws its places, and a file of twenty bytes comes up once or twice in a run. So a checksum that leaves out one byte goes
unseen. Small files are quickly read, so none of their bytes is left to chance. Files that are in use are read again after each
change, without another opening.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.damage import copy_of

__all__ = ["SMALL_BYTES_MAX", "refuse_each_byte", "refuse_while_open"]

SMALL_BYTES_MAX = 300
"""The size of a small file at most: of a set of persisted batches, or a note of a log's end."""

_CHANGE = 1
"""The bit that is changed: it makes another digit of a digit, so that the file still reads as one of its kind."""

_ENDS_BYTES = 8
_MESSAGE = b"\xff" * 4
"""The first bytes of each message in Arrow's stream format: what a log says of its records stands right before them."""


def refuse_each_byte(root: Path, part: Path, look: Callable[[Path], object]) -> None:
    """Change each byte of each small file in one folder of ``root``, and open a copy that has this folder only.

    Then there is a folder where the file was: whether a file is there and cannot be read, or is not there, makes a difference.

    Args:
        part: the folder, below ``root``.
        look: opens a folder, and returns what is in it.

    Raises:
        PromiseBroken: something else was there, or the error did not name the file.
    """
    with copy_of(root, part) as copy, claimed_as_broken(f"opening a copy of {part} by itself"):
        there = look(copy)
    for file in sorted((root / part).iterdir()):
        data = file.read_bytes() if file.is_file() else b""
        for place in range(len(data) if len(data) <= SMALL_BYTES_MAX else 0):
            with copy_of(root, part) as copy:
                changed = copy / part / file.name
                changed.write_bytes(_changed(data, place))
                _is_refused(changed, place, partial(look, copy), there, "before the folder was opened")
        if 0 < len(data) <= SMALL_BYTES_MAX:
            with copy_of(root, part) as copy:
                _cannot_be_read(copy / part / file.name, partial(look, copy), there)


def refuse_while_open(
    root: Path,
    open_in: Callable[[Path], Iterator[tuple[Iterable[Path], Callable[[], object]]]],
    seed: int,
    *,
    times: int,
    strict: bool = False,
) -> None:
    """Open a copy of ``root``, change some bytes of files in it, one at a time, and read; then put each back.

    Args:
        open_in: opens a folder for a ``with`` block, as the function beneath a context manager does, and yields files and what
            reads them.
        seed: draws bytes, besides the first and the last ones of each file, and those before one message of Arrow's in it.
        times: how many are drawn of each file.
        strict: whether each change must be refused, even where the rows are the same.

    Raises:
        PromiseBroken: something else was read, or the error did not name the file.
    """
    chance = random.Random(f"each byte {seed}")
    with copy_of(root) as copy, contextmanager(open_in)(copy) as (files, read):
        with claimed_as_broken("reading a copy of the folder"):
            there = read()
        for file in files:
            data = file.read_bytes()
            drawn = [chance.randrange(len(data)) for _ in range(times if data else 0)]
            for place in sorted({*_ends(data, chance), *drawn}):
                _put(file, place, _changed(data, place)[place : place + 1])
                _is_refused(file, place, read, there, "while it was open", strict=strict)
                _put(file, place, data[place : place + 1])


def _ends(data: bytes, chance: random.Random) -> set[int]:
    ends = [_ENDS_BYTES, len(data)]
    if messages := [found.start() for found in re.finditer(re.escape(_MESSAGE), data)]:
        ends.append(chance.choice(messages))
    return {place for end in ends for place in range(max(0, end - _ENDS_BYTES), min(end, len(data)))}


def _cannot_be_read(file: Path, read: Callable[[], object], there: object) -> None:
    file.unlink()
    file.mkdir()
    how = f"a folder is in the place of {file.parent.name}/{file.name}"
    with claimed_as_broken(f"reading when {how}"):
        try:
            found = read()
        except IsADirectoryError as error:
            if error.filename != str(file):
                raise
            return
    if found != there:
        raise PromiseBroken("corrupt", f"{how}, and other rows were returned")


def _changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ _CHANGE]) + data[place + 1 :]


def _put(file: Path, place: int, byte: bytes) -> None:
    """Change the file itself: its user may have it open."""
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(byte)


def _is_refused(
    file: Path, place: int, read: Callable[[], object], there: object, when: str, *, strict: bool = False
) -> None:
    how = f"byte {place} of {file.parent.name}/{file.name} was changed {when}"
    with claimed_as_broken(f"reading when {how}"):
        try:
            found = read()
        except ReferenceWalError as error:
            if getattr(error, "path", None) != file:
                raise
            return
    if found != there:
        raise PromiseBroken("corrupt", f"{how}, and other rows were returned")
    if strict:
        raise PromiseBroken("corrupt", f"{how}, and nobody noticed")
