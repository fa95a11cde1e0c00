"""Which file, directory or metadata each change of a trace is about, whatever it was recorded on."""

from collections.abc import Mapping

from faults.disk.block_map import disk_changes
from faults.disk.crash_images import CrashImages
from faults.disk.filesystem import Filesystem
from faults.disk.named import Named
from faults.disk.posix.naming import tree_changes
from faults.disk.trace import Trace

__all__ = ["changes_named"]


def changes_named(trace: Trace, cut: int, images: CrashImages) -> Mapping[int, tuple[Named, ...]]:
    """The changes before position `cut`, by position; one may be about several things.

    Of a disk, crash images are mounted and asked what is where.

    Raises SystemCallFailed.
    """
    if Filesystem.parse(trace.filesystem).on_disk:
        return disk_changes(trace, cut, images)
    return {at: (named,) for at, named in tree_changes(trace, cut).items()}
