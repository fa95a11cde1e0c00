"""Copies of the folder with one file damaged: the engine says which file, or has the same rows. It never goes on with others.

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
from pathlib import Path

from crashmatrix import faults
from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken

__all__ = ["refuse_damage", "unobserved"]

_ZEROED_BYTES = 512
_NUMBERS = re.compile(r"[0-9a-f]{16}|\d+")


@contextmanager
def unobserved() -> Iterator[None]:
    """Have no crash point in the block."""
    before = faults.observe(None)
    try:
        yield
    finally:
        faults.observe(before)


def refuse_damage(root: Path, look: Callable[[Path], object], seed: int, *, files: int = 12, but_for: str = "") -> None:
    """Damage copies of a folder that nobody has open, and open them.

    Args:
        look: opens a folder and returns what is in it.
        seed: draws the files, and what is done to them.
        files: how many are damaged. A second one of a kind, whose name differs in numbers only, comes after one of each kind.
        but_for: the name of a folder in it whose files the engine does not vouch for.

    Raises:
        PromiseBroken: something else was there, or the error did not name the file.
    """
    chance = random.Random(f"damage {seed}")
    with tempfile.TemporaryDirectory() as folder, unobserved():
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy)
        with claimed_as_broken("opening a copy of the folder"):
            there = look(copy)
        for file in _drawn(root, chance, files, but_for):
            shutil.rmtree(copy)
            shutil.copytree(root, copy)
            damaged = copy / file
            how = _damage(damaged, chance)
            with claimed_as_broken(f"opening the folder after {file} was {how}"):
                try:
                    found = look(copy)
                except ReferenceWalError as error:
                    if not _names(error, damaged):
                        raise
                    continue
            if found != there:
                raise PromiseBroken("corrupt", f"{file} was {how}, and opening the folder returned other rows")


def _drawn(root: Path, chance: random.Random, count: int, but_for: str) -> list[Path]:
    """So many files, by their paths in the folder."""
    kinds = dict[str, list[Path]]()
    for folder, folders, names in os.walk(root):
        folders.sort()
        place = Path(folder).relative_to(root)
        if but_for not in place.parts:
            for name in sorted(names):
                kinds.setdefault(_NUMBERS.sub("#", str(place / name)), []).append(place / name)
    turns = [enumerate(chance.sample(files, len(files))) for _, files in sorted(kinds.items())]
    every = sorted(((turn, chance.random(), file) for files in turns for turn, file in files))
    return [file for _, _, file in every[:count]]


def _damage(file: Path, chance: random.Random) -> str:
    """Damage a file in one of several ways; returns which."""
    data = file.read_bytes()
    place = chance.randrange(len(data) or 1)
    end = place + _ZEROED_BYTES
    ways = {
        "cut short": data[:place],
        "changed in a byte": data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :] if data else b"",
        "zeroed in a sector": data[:place] + bytes(len(data[place:end])) + data[end:],
    }  # fmt: skip
    how = chance.choice([*ways] if _is_newest_commit(file) else ["removed", *ways])
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(ways[how])
    return f"{how} at byte {place}" if how != "removed" else how


def _is_newest_commit(file: Path) -> bool:
    """Whether this is the newest version of a table. Where there is no log, nothing can tell that it is gone."""
    return file.suffix == ".json" and file == max(file.parent.glob("*.json"))


def _names(error: ReferenceWalError, file: Path) -> bool:
    """Whether an error says which file is damaged. If it is gone, that may be the folder, or one beside it."""
    named = getattr(error, "path", None)
    return named == file or (
        not file.exists() and named is not None and (named in file.parents or named.parent == file.parent)
    )
