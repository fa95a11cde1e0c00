"""Which file, directory or metadata each change of a trace is about, whatever it was recorded on."""

from collections.abc import Mapping

from crashmatrix.faults.disk.block.naming import disk_changes
from crashmatrix.faults.disk.crash_images import CrashImages
from crashmatrix.faults.disk.filesystem import Filesystem
from crashmatrix.faults.disk.posix.naming import tree_changes
from crashmatrix.faults.disk.trace.named import Named
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["changes_named"]


def changes_named(trace: Trace, cut: int, images: CrashImages) -> Mapping[int, tuple[Named, ...]]:
    """The changes before position `cut`, by position; one may be about several things.

    Of a disk, crash images are mounted and asked what is where.

    Raises SystemCallFailed.
    """
    if Filesystem.parse(trace.filesystem).on_disk:
        return disk_changes(trace, cut, images)
    return {at: (named,) for at, named in tree_changes(trace, cut).items()}
