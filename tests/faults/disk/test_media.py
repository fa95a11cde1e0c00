"""A filesystem's name chooses the medium, and all four of its parts fit each other."""

import pytest

from crashmatrix.faults.disk import FILESYSTEMS, CrashState, InvalidOption, Trace
from crashmatrix.faults.disk.block.images import DiskImages
from crashmatrix.faults.disk.block.stage import DiskStage
from crashmatrix.faults.disk.media import medium_of
from crashmatrix.faults.disk.posix.images import TreeImages
from crashmatrix.faults.disk.posix.stage import TreeStage


@pytest.mark.parametrize("filesystem", [*FILESYSTEMS, "ext4:data=journal,noatime"])
def test_a_name_chooses(filesystem: str) -> None:
    """`posix` is a tree of files, every other one is on a disk."""
    medium = medium_of(filesystem)
    trace = Trace(filesystem=filesystem, size_bytes=0 if filesystem == "posix" else 1 << 20, base=(), operations=())
    expected = (TreeStage, TreeImages) if filesystem == "posix" else (DiskStage, DiskImages)
    assert (medium.stage, type(medium.images(trace))) == expected
    digests, state = medium.digests(trace), CrashState(0, 0)
    assert medium.outcomes(trace, digests).of(state) == digests.of(state)  # Nothing was written.


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidOption, match="ntfs"):
        medium_of("ntfs")
