"""The frame of oracles that look at folders of their own, or at copies of the one that a run leaves. Their findings hardly depend
on what happens in that run.

So they look once in a campaign, in the run of the workload that comes to its end first. An experiment that fails a thousand calls
runs the workload a thousand times, and the looks take longer than the workload itself. A later run finds what that one found, so
that a replay shows it, too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from crashmatrix import faults
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.damage import without_crash_points

__all__ = ["contents", "folder_apart", "in_first_run", "judged"]

_MARKER = "looked"


def in_first_run(workspace: Path, *looks: Callable[[], object]) -> None:
    """Look, unless another run of the target with this workspace does or did. Raises PromiseBroken, as that run did.

    If another error ends the look, such as that of a failing disk, the next run looks.
    """
    marker = workspace / _MARKER
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if found := marker.read_bytes():
            raise PromiseBroken(*msgspec.json.decode(found, type=tuple[Verdict, str])) from None
        return
    try:
        for look in looks:
            look()
    except PromiseBroken as broken:
        marker.write_bytes(msgspec.json.encode((broken.verdict, broken.explanation)))
        raise
    except BaseException:
        marker.unlink()
        raise


@contextmanager
def folder_apart() -> Iterator[Path]:
    """Make an empty folder for the block, in which there is no crash point, and no row of a table counts as entered."""
    with without_crash_points(), faults.uncounted(), tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def judged(doing: str) -> AbstractContextManager[None]:
    """Take every error in the block for a broken promise, unless a disk failed. An error that is due is caught in the block."""
    return claimed_as_broken(doing, (Exception,))


def contents(root: Path) -> dict[str, bytes]:
    """Return the bytes of each file below a folder, by its path there; where a link leads."""
    return {
        str(path.relative_to(root)): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
