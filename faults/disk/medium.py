"""What the power is cut of: a disk under a real filesystem, or a tree of files by the letter of POSIX.

Everything that knows which of the two it has before it is behind this interface; a trace's filesystem chooses.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from faults.disk.digests import ImageDigests
from faults.disk.disk_images import DiskImages
from faults.disk.disk_stage import DiskStage
from faults.disk.filesystem import Filesystem
from faults.disk.posix import TreeDigests, TreeImages, TreeStage
from faults.disk.stage import Stage
from faults.disk.state import CrashState
from faults.disk.trace import Trace

__all__ = ["Digests", "Images", "Medium", "medium_of"]


class Digests(Protocol):
    """Names for a trace's crash images that are cheap to compute: two states have one digest if their images are equal."""

    def of(self, state: CrashState, /) -> int:
        """The digest of the image that is left in this state."""


class Images(Protocol):
    """A trace's crash images, one at a time; see faults.disk.CrashImages."""

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
    """How it is recorded, how its images are told apart, and how they are looked at."""

    stage: type[Stage]
    digests: Callable[[Trace], Digests]
    images: Callable[[Trace], Images]


_DISK = Medium(DiskStage, ImageDigests, DiskImages)
_TREE = Medium(TreeStage, TreeDigests, TreeImages)


def medium_of(filesystem: str) -> Medium:
    """The medium of a filesystem, given as a specification. Raises InvalidOption."""
    return _DISK if Filesystem.parse(filesystem).on_disk else _TREE
