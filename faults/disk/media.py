"""The two media that a power cut can hit: a disk under a real filesystem, or a tree of files that keeps only what POSIX promises.

All code that depends on the medium is behind this interface; a trace's filesystem chooses.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from crashmatrix.faults.disk.block.digests import DiskDigests
from crashmatrix.faults.disk.block.ext4.outcomes import DiskOutcomes
from crashmatrix.faults.disk.block.images import DiskImages
from crashmatrix.faults.disk.block.stage import DiskStage
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.posix.digests import TreeDigests
from crashmatrix.faults.disk.posix.images import TreeImages
from crashmatrix.faults.disk.posix.stage import TreeStage
from crashmatrix.faults.disk.stage import Stage
from crashmatrix.faults.disk.state import CrashState, ImageNames, OutcomeNames
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Images", "Medium", "medium_of"]


class Images(Protocol):
    """A trace's crash images, one at a time; see crashmatrix.faults.disk.CrashImages."""

    seconds: dict[str, float]

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def mounted(self, state: CrashState, /) -> AbstractContextManager[Path]:
        """The state as a directory."""

    def save(self, state: CrashState, path: Path, /) -> None:
        """The state as a file."""


@dataclass(frozen=True)
class Medium:
    """How a medium is recorded, how its states are named, and how they are mounted."""

    stage: type[Stage]
    digests: Callable[[Trace], ImageNames]
    outcomes: Callable[[Trace, ImageNames], OutcomeNames]
    """Also gets the digests: equal images become the same folder."""
    images: Callable[[Trace], Images]


def _tree_outcomes(_: Trace, digests: ImageNames) -> OutcomeNames:
    assert isinstance(digests, TreeDigests)
    return digests  # A tree needs no recovery: its image is the folder.


_DISK = Medium(DiskStage, DiskDigests, DiskOutcomes, DiskImages)
_TREE = Medium(TreeStage, TreeDigests, _tree_outcomes, TreeImages)


def medium_of(filesystem: str) -> Medium:
    """The medium of a filesystem, given as a specification. Raises InvalidOption."""
    return _DISK if Filesystem.parse(filesystem).on_disk else _TREE
