"""Names the file, directory or metadata that each change of a trace concerns, on a disk or on a tree of files."""

from collections.abc import Mapping

from crashmatrix.faults.disk.block.naming import disk_changes
from crashmatrix.faults.disk.crash_images import CrashImages
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.posix.naming import tree_changes
from crashmatrix.faults.disk.trace.named import Named
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["changes_named"]


def changes_named(trace: Trace, cut: int, images: CrashImages) -> Mapping[int, tuple[Named, ...]]:
    """Name the changes before position `cut`, by position; one change may concern several files.

    For a disk, crash images are mounted to see what is where.

    Raises SystemCallFailed.
    """
    if Filesystem.parse(trace.filesystem).on_disk:
        return disk_changes(trace, cut, images)
    return {at: (named,) for at, named in tree_changes(trace, cut).items()}
