"""The frame of oracles that look at folders of their own: the engine does the same there whatever happens in the run.

So they look once in a campaign, in the run of the workload that comes first. An experiment that fails a thousand calls runs the
workload a thousand times, and each look takes a tenth of a second.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crashmatrix import faults
from crashmatrix.scenarios.errors import PromiseBroken, text_of
from crashmatrix.scenarios.systems.reference.notes import failing_disk
from crashmatrix.scenarios.systems.reference.oracle.damage import without_crash_points

__all__ = ["folder_apart", "in_first_run", "judged"]

_MARKER = "looked"


def in_first_run(workspace: Path, *looks: Callable[[], object]) -> None:
    """Look, unless another run of the target with this workspace does or did. Raises PromiseBroken."""
    try:
        os.close(os.open(workspace / _MARKER, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    for look in looks:
        look()


@contextmanager
def folder_apart() -> Iterator[Path]:
    """Make an empty folder for the block, in which there is no crash point, and no row of a table counts as entered."""
    with without_crash_points(), faults.uncounted(), tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def judged(doing: str) -> Iterator[None]:
    """Take every error in the block for a broken promise, unless a disk failed. An error that is due is caught in the block."""
    try:
        yield
    except PromiseBroken:
        raise
    except Exception as error:
        if failing_disk(error):
            raise
        raise PromiseBroken("cannot-open", f"{doing} raised {type(error).__name__}: {text_of(error)}") from error
