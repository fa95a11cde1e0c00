"""Crash images of a disk or of a tree, behind one interface; `block.images` and `posix.images` make them."""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from crashmatrix.faults.disk.media import medium_of
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["CrashImages"]


class CrashImages:
    """The crash images of one trace, one at a time. A context manager, for one process and one thread.

    Entering moves the calling thread permanently into a private mount namespace, so use a worker process; several
    workers may have the same trace open. Forked checkers share the worker's mounts. They should call
    `crashmatrix.faults.disk.die_with_parent` first, since a checker that outlives a killed worker keeps the worker's mounts.
    """

    def __init__(self, trace: Trace) -> None:
        self._images = medium_of(trace.filesystem).images(trace)

    def __enter__(self) -> Self:
        self._images.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._images.__exit__(kind, error, trace)

    def mounted(self, state: CrashState) -> AbstractContextManager[Path]:
        """For the block, the directory of the system under test in this state, after the filesystem's own recovery.

        The directory exists unless the trace was not made by `record`. Every change to it is undone
        afterwards. Raises MountRefused if the filesystem refuses the image, SystemCallFailed.
        """
        return self._images.mounted(state)

    def save(self, state: CrashState, path: Path) -> None:
        """Write the state, before any recovery, to a file: a sparse image of a disk, or a tar archive of a tree.

        Raises OSError.
        """
        self._images.save(state, path)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent so far, by activity, without the caller's own work."""
        return self._images.seconds
