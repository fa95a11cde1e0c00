"""Copies of the folder with one file damaged: the engine says which file, or has the same rows. It never returns others.

No crash damages what was durable, so no crash state leads to the code that refuses damage. The workload does, once it is over:
of each kind of file it damages some, in ways that the seed draws. `tests.reference_wal.test_damage` changes every byte.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from crashmatrix import faults
from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.reference_wal.log.end import END
from crashmatrix.reference_wal.log.segments.segment import open_segment, scan
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.torn_logs import SECTOR_BYTES

__all__ = ["copy_of", "refuse_damage"]

_ENDS_BYTES = 200
_REST_OF_END_BYTES = len("\n0123456789abcdef\n")
"""The length of what follows the number in a log's note of its end."""
_WHILE_OPEN = 0.5
"""How often a file is damaged once the folder is open."""
_NUMBERS = re.compile(r"[0-9a-f]{16}|\d+")


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """Make a copy of a folder for the block, in which there is no crash point."""
    before = faults.observe(None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(shutil.copytree(root, Path(folder) / "copy"))
    finally:
        faults.observe(before)


def refuse_damage(
    root: Path, look: Callable[[Path, Callable[[], None]], object], seed: int, *, times: int = 12, but_for: str = ""
) -> None:
    """Damage copies of a folder that nobody has open, and open them; or damage them once they are open.

    Args:
        look: opens a folder, calls its second argument, and returns what is in the folder.
        seed: draws the files, what is done to them, and when.
        times: how often a file is damaged. A second one of a kind, whose name differs in numbers only, comes after one of each
            kind; a file that was damaged before comes after all.
        but_for: the name of a folder in it whose files the engine does not vouch for.

    Raises:
        PromiseBroken: something else was there, or the error did not name the file.
    """
    chance = random.Random(f"damage {seed}")
    with copy_of(root) as copy, claimed_as_broken("opening a copy of the folder"):
        there = look(copy, _nothing)
    for file in islice(cycle(_drawn(root, chance, but_for)), times):
        with copy_of(root) as copy:
            damage = _Damage.drawn(copy / file, chance)
            is_open = chance.random() < _WHILE_OPEN
            if not is_open:
                damage()
            how = f"{file} was {damage}{' while it was open' if is_open else ''}"
            with claimed_as_broken(f"opening and reading the folder when {how}"):
                try:
                    found = look(copy, damage if is_open else _nothing)
                except ReferenceWalError as error:
                    if not damage.is_named(error):
                        raise
                    continue
                except PromiseBroken as broken:
                    raise PromiseBroken(broken.verdict, f"{how}, and then {broken.explanation}") from broken
        if found != there:
            raise PromiseBroken("corrupt", f"{how}, and the folder returned other rows")


def _nothing() -> None:
    """Damage nothing."""


def _drawn(root: Path, chance: random.Random, but_for: str) -> list[Path]:
    """All files, by their paths in the folder, in an order in which the first ones are of different kinds."""
    kinds = dict[str, list[Path]]()
    for folder, folders, names in os.walk(root):
        folders.sort()
        place = Path(folder).relative_to(root)
        if but_for not in place.parts:
            for name in sorted(names):
                if name.endswith("-.arrows") and not _end_is_noted(root / place / name):
                    continue  # An error kept the log from noting its end: damage there may be a torn write.
                kinds.setdefault(_NUMBERS.sub("#", str(place / name)), []).append(place / name)
    turns = [enumerate(chance.sample(files, len(files))) for _, files in sorted(kinds.items())]
    return [file for _, _, file in sorted((turn, chance.random(), file) for files in turns for turn, file in files)]


def _end_is_noted(active: Path) -> bool:
    """Whether the note of a log's end is whole and says what the log holds, or there is nothing to hold.

    The engine's own reader of the note (`log.end.read_end`) is under test here.
    """
    with open_segment(active) as file:
        found = scan(file)
    end = b"%d" % (int(active.name.partition("-")[0]) + found.records)
    note = active.with_name(END)
    content = note.read_bytes() if note.exists() else b""
    return not found.records or (content.startswith(end + b"\n") and len(content) == len(end) + _REST_OF_END_BYTES)


@dataclass(frozen=True)
class _Damage:
    """Damages a file, if it is there by then."""

    file: Path
    way: str
    place: int
    bit: int

    @classmethod
    def drawn(cls, file: Path, chance: random.Random) -> _Damage:
        """Draw what is done to a file, and where in it."""
        ways = [
            "cut short",
            "changed in a bit",
            "zeroed in a sector",
            *([] if _is_newest_commit(file) else ["removed"]),
        ]
        return cls(file, chance.choice(ways), _place(file.stat().st_size, chance), chance.randrange(8))

    def __call__(self) -> None:
        if not self.file.exists():
            return
        data = bytearray(self.file.read_bytes())
        match self.way:
            case "removed":
                self.file.unlink()
                return
            case "cut short":
                del data[self.place :]
            case "changed in a bit" if self.place < len(data):
                data[self.place] ^= 1 << self.bit
            case "zeroed in a sector":
                end = min(len(data), self.place + SECTOR_BYTES)
                data[self.place : end] = bytes(end - self.place)
        self.file.write_bytes(data)

    def is_named(self, error: ReferenceWalError) -> bool:
        """Whether an error names the file; if it was removed, its folder or a file beside it. A log's last segment may have been
        closed since, under another name.
        """
        named = getattr(error, "path", None)
        if named is None:
            return False
        beside, name = named.parent == self.file.parent, self.file.name
        renamed = name.endswith("-.arrows") and beside and named.name.startswith(name.removesuffix(".arrows"))
        return named == self.file or renamed or (self.way == "removed" and (beside or named in self.file.parents))

    def __str__(self) -> str:
        return self.way if self.way == "removed" else f"{self.way} at byte {self.place}"


def _place(length: int, chance: random.Random) -> int:
    """Draw a byte: among the first ones, the last ones, or all. Most of what a file says of itself is at its ends."""
    few = min(_ENDS_BYTES, length) or 1
    places = [chance.randrange(few), length - 1 - chance.randrange(few), chance.randrange(length or 1)]
    return max(0, chance.choice(places))


def _is_newest_commit(file: Path) -> bool:
    """Whether this is the newest version of a table. Where there is no log, nothing can tell that it is gone."""
    return file.suffix == ".json" and file == max(file.parent.glob("*.json"))
