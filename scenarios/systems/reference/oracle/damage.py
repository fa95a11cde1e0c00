"""Copies of the folder with one file damaged: the engine says which file, or has the same rows. It never returns others.

No crash damages what was durable, so no crash state leads to the code that refuses damage. The workload does, once it is over:
it damages a file of each kind in one way after another, at places that the seed draws. `tests.reference_wal.test_damage` changes
every byte.
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

__all__ = ["copy_of", "refuse_damage", "without_crash_points"]

_ENDS_BYTES = 200
_REST_OF_END_BYTES = len("\n0123456789abcdef\n")
"""The length of what follows the number in a log's note of its end."""
_WHILE_OPEN = 0.5
"""How often a file is damaged once the folder is open."""
_WAYS = _REMOVED, _CUT, _CHANGED, _ZEROED = "removed", "cut short", "changed in a bit", "zeroed in a sector"
_NUMBERS = re.compile(r"[0-9a-f]{16}|\d+")


@contextmanager
def without_crash_points() -> Iterator[None]:
    """Let no failpoint count in the block: it is not the system's own work."""
    before = faults.observe(None)
    try:
        yield
    finally:
        faults.observe(before)


@contextmanager
def copy_of(root: Path, part: Path = Path()) -> Iterator[Path]:
    """Make a copy of a folder, or of the part of it at this place below it, for the block, in which there is no crash point."""
    with without_crash_points(), tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(root / part, copy / part)
        yield copy


def refuse_damage(
    root: Path, look: Callable[[Path, Callable[[], None]], object], seed: int, *, times: int = 24, but_for: str = ""
) -> object:
    """Damage copies of a folder that nobody has open, and open them; or damage them once they are open.

    Args:
        look: opens a folder, calls its second argument, and returns what is in the folder.
        seed: draws the files, what is done to them, and when.
        times: how often a file is damaged. Each kind comes once before any comes in a second way; a kind is all files whose paths
            differ in numbers and in the name of the table only.
        but_for: the name of a folder in it whose files the engine does not vouch for.

    Returns:
        The contents of the folder, as ``look`` returned them.

    Raises:
        PromiseBroken: something else was there; the error did not name the file; or a data file lacked bytes, and opening the
            folder did not find that.
    """
    chance = random.Random(f"damage {seed}")
    with copy_of(root) as copy, claimed_as_broken("opening a copy of the folder"):
        there = look(copy, _nothing)
    for turn, (file, way) in enumerate(islice(_drawn(root, chance, but_for), times)):
        with copy_of(root) as copy:
            damage = _Damage.drawn(copy / file, way, chance)
            is_open = chance.random() < _WHILE_OPEN and bool(turn)
            opened = _Opened(damage if is_open else _nothing)
            if not is_open:
                damage()
            how = f"{file} was {damage}{' while it was open' if is_open else ''}"
            with claimed_as_broken(f"opening and reading the folder when {how}"):
                try:
                    found = look(copy, opened)
                except ReferenceWalError as error:
                    if not damage.is_named(error):
                        raise
                    if opened.called and not is_open and damage.shows_in_its_size:
                        raise PromiseBroken("corrupt", f"{how}, and the folder opened; reading it failed") from error
                    continue
                except PromiseBroken as broken:
                    raise PromiseBroken(broken.verdict, f"{how}, and then {broken.explanation}") from broken
        if found != there:
            raise PromiseBroken("corrupt", f"{how}, and the folder returned other rows")
    return there


def _nothing() -> None:
    """Damage nothing."""


class _Opened:
    """A look calls it once the folder is open."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.called, self._then = False, then

    def __call__(self) -> None:
        self.called = True
        self._then()


def _drawn(root: Path, chance: random.Random, but_for: str) -> Iterator[tuple[Path, str]]:
    """Yield a file of each kind, by its path in the folder, and a way to damage it; then another way, or file, for each kind.

    A data file that is cut short comes first, if there is one: opening the folder has to find that, and few other turns show it.
    """
    kinds = dict[str, list[Path]]()
    for folder, folders, names in os.walk(root):
        folders.sort()
        place = Path(folder).relative_to(root)
        if but_for not in place.parts:
            for name in sorted(names):
                if name.endswith("-.arrows") and not _end_is_noted(root / place / name):
                    continue  # An error kept the log from noting its end: damage there may be a torn write.
                kinds.setdefault(_kind(place / name), []).append(place / name)
    data_files = [file for kind in kinds.values() for file in kind if _is_data(file)]
    if data_files:
        yield chance.choice(data_files), _CUT
    turns = [_turns(root, files, chance) for _, files in sorted(kinds.items())]
    while turns:
        chance.shuffle(turns)
        yield from map(next, turns)


def _kind(file: Path) -> str:
    top, *below = file.parts
    return _NUMBERS.sub("#", "/".join((top, *below[1:]) if len(below) > 1 else file.parts))


def _turns(root: Path, files: list[Path], chance: random.Random) -> Iterator[tuple[Path, str]]:
    """Yield a file and a way to damage it, without end; each file, and each way, comes once before any comes again."""
    for file, way in zip(
        cycle(chance.sample(files, len(files))), cycle(chance.sample(_WAYS, len(_WAYS))), strict=False
    ):
        yield file, _CHANGED if way == _REMOVED and _is_newest_commit(root / file) else way


def _is_data(file: Path) -> bool:
    return file.suffix == ".parquet" and ".checkpoint" not in file.suffixes


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
    def drawn(cls, file: Path, way: str, chance: random.Random) -> _Damage:
        """Draw where in a file it is damaged."""
        return cls(file, way, _place(file.stat().st_size, chance), chance.randrange(8))

    def __call__(self) -> None:
        if not self.file.exists():
            return
        data = bytearray(self.file.read_bytes())
        if self.way == _REMOVED:
            self.file.unlink()
            return
        if self.way == _CUT:
            del data[self.place :]
        elif self.way == _ZEROED:
            end = min(len(data), self.place + SECTOR_BYTES)
            data[self.place : end] = bytes(end - self.place)
        elif self.place < len(data):
            data[self.place] ^= 1 << self.bit
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
        return named == self.file or renamed or (self.way == _REMOVED and (beside or named in self.file.parents))

    @property
    def shows_in_its_size(self) -> bool:
        """Whether opening the folder finds it: it compares the sizes of data files, and reads none."""
        return self.file.suffix == ".parquet" and self.way in (_REMOVED, _CUT)

    def __str__(self) -> str:
        return self.way if self.way == _REMOVED else f"{self.way} at byte {self.place}"


def _place(length: int, chance: random.Random) -> int:
    """Draw a byte: among the first ones, the last ones, or all. Most of what a file says of itself is at its ends."""
    few = min(_ENDS_BYTES, length) or 1
    places = [chance.randrange(few), length - 1 - chance.randrange(few), chance.randrange(length or 1)]
    return max(0, chance.choice(places))


def _is_newest_commit(file: Path) -> bool:
    """Whether this is the newest version of a table. Where there is no log, nothing can tell that it is gone."""
    return file.suffix == ".json" and file == max(file.parent.glob("*.json"))
