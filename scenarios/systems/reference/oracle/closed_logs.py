"""Logs that were closed in good order: what they leave says where they end, and none of their bytes can change unseen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from crashmatrix.reference_wal.log.end import END
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.each_byte import refuse_each_byte, refuse_while_open

__all__ = ["compare_ends", "ends_of", "refuse_changed_bytes"]

_WAL = Path("wal")
_CHANGES = 20
"""So many bytes of each segment are changed while it is open, besides those at its ends."""


def ends_of(wal: WriteAheadLog) -> dict[Path, int]:
    """Return the next id of each log, by its folder."""
    return {wal.log(table).folder: wal.log(table).next_id for table in wal.tables}


def compare_ends(next_ids: Mapping[Path, int], *, but_for: Collection[Path] = ()) -> None:
    """Raise PromiseBroken unless the note of each closed log's end says this; a log that never had a batch has none.

    Args:
        next_ids: by the log's folder (`ends_of`).
        but_for: folders in which the note could not be written.
    """
    for folder, next_id in next_ids.items():
        if folder in but_for:
            continue
        note = folder / END
        said = note.read_bytes().partition(b"\n")[0].decode() if note.exists() else ""
        if said != (due := str(next_id or "")):
            raise PromiseBroken("corrupt", f"{folder.name} was closed, its note of the end says '{said}', not '{due}'")


def refuse_changed_bytes(
    root: Path,
    open_in: Callable[[Path], AbstractContextManager[WriteAheadLog]],
    look: Callable[[Path], object],
    seed: int,
) -> None:
    """Change bytes of the logs in ``root/wal``: each one of the small files, and some of segments while they are open.

    Args:
        open_in: opens the logs in a copy of the folder.
        look: opens them, and returns what is in them.
        seed: draws the bytes of segments.

    Raises:
        PromiseBroken: something else was there, or the error did not name the file.
    """

    def segments(copy: Path) -> Iterator[tuple[list[Path], Callable[[], object]]]:
        with open_in(copy) as wal:
            yield (
                sorted((copy / _WAL).glob("*/*.arrows")),
                lambda: [wal.unpersisted(table) for table in wal.tables],
            )

    for log in sorted(folder for folder in (root / _WAL).iterdir() if (folder / END).exists()):
        refuse_each_byte(root, _WAL / log.name, look)
    refuse_while_open(root, segments, seed, times=_CHANGES)
