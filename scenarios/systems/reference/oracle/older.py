"""Checkpoints that are older than proofs, and damage that takes two files: copies of the folder as no workload leaves it.

An earlier version wrote checkpoints without a proof (`reference_wal.delta.checkpoint`). Such a table is read as before, even if
its newest checkpoint is torn, since the one before it is there. A torn checkpoint with a commit missing behind the one before it
must be refused: nobody knows the table's files then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crashmatrix.reference_wal import ReferenceWalError
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.damage import copy_of, refuse_damage
from crashmatrix.scenarios.systems.reference.torn_logs import SECTOR_BYTES

__all__ = ["judge_damaged", "read_older", "refuse_two"]

_CHECKPOINTS = "tables/*/_delta_log/*.checkpoint.parquet"


def judge_damaged(root: Path, look: Callable[..., object], seed: int, *, times: int, but_for: str) -> None:
    """Look at copies of a folder with one file damaged, as `refuse_damage` does, then at those of this module."""
    there = refuse_damage(root, look, seed, times=times, but_for=but_for)
    read_older(root, look, there)
    refuse_two(root, look)


def read_older(root: Path, look: Callable[[Path], object], there: object) -> None:
    """Open copies whose checkpoints have no proofs: all of them whole, then one of them torn.

    Args:
        look: opens a folder, and returns what is in it.
        there: what it returns of this one.

    Raises:
        PromiseBroken: something else was there, or the copy did not open.
    """
    for torn in [None, *_replaceable(root)[:1]] if any(root.glob(_CHECKPOINTS)) else ():
        with copy_of(root) as copy:
            for proof in copy.glob("tables/*/_delta_log/_checkpoint.*.xxh3"):
                proof.unlink()
            how = "checkpoints have no proofs"
            if torn is not None:
                _tear(copy / torn)
                how += f", and {torn} is torn"
            with claimed_as_broken(f"opening a copy whose {how}"):
                if look(copy) != there:
                    raise PromiseBroken("corrupt", f"{how}, and other rows were returned")


def refuse_two(root: Path, look: Callable[[Path], object]) -> None:
    """Tear a checkpoint, and remove a commit behind the one before it: the first, or the last but one.

    Raises PromiseBroken unless the table is named.
    """
    for torn in _replaceable(root)[:1]:
        log = root / torn.parent
        before = max(file.name for file in log.glob("*.checkpoint.parquet") if file.name < torn.name)
        behind = sorted(file.name for file in log.glob("[0-9]*.json") if file.name[:20] > before[:20])
        for commit in dict.fromkeys((behind[0], *behind[-2:-1])):
            with copy_of(root) as copy:
                _tear(copy / torn)
                (copy / torn).with_name(commit).unlink()
                _is_named(copy, look, copy / torn, f"{torn} is torn, and {commit} is gone")


def _is_named(copy: Path, look: Callable[[Path], object], file: Path, how: str) -> None:
    with claimed_as_broken(f"opening a copy in which {how}"):
        try:
            look(copy)
        except ReferenceWalError as error:
            if getattr(error, "path", None) != file:
                raise
            return
    raise PromiseBroken("corrupt", f"{how}, and nobody noticed")


def _replaceable(root: Path) -> list[Path]:
    """Return the newest checkpoint of each table that has an older one with a commit between them, and needs one of them."""
    found = []
    for log in sorted({file.parent for file in root.glob(_CHECKPOINTS)}):
        versions = sorted(int(file.name[:20]) for file in log.glob("*.checkpoint.parquet"))
        commits = {int(file.name[:20]) for file in log.glob("[0-9]*.json")}
        if len(versions) > 1 and versions[-2] + 1 in commits and 0 not in commits:
            found.append((log / f"{versions[-1]:020d}.checkpoint.parquet").relative_to(root))
    return found


def _tear(file: Path) -> None:
    """Have a sector in the middle that never reached the disk."""
    data = bytearray(file.read_bytes())
    start = len(data) // 2 // SECTOR_BYTES * SECTOR_BYTES
    data[start : start + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    file.write_bytes(data)
