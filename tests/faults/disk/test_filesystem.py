"""Filesystems as text: several, each with its mount options."""

import pytest

from crashmatrix.faults.disk import Filesystem, InvalidOption


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("", []),
        ("ext4", ["ext4"]),
        ("ext4,xfs,btrfs", ["ext4", "xfs", "btrfs"]),
        ("ext4:data=writeback,noatime", ["ext4:data=writeback,noatime"]),
        ("ext4:a=b,c,xfs,btrfs:d,posix", ["ext4:a=b,c", "xfs", "btrfs:d", "posix"]),
        ("xfs:,wsync,", ["xfs:wsync"]),
    ],
)  # fmt: skip
def test_lists(text: str, given: list[str]) -> None:
    """A comma separates filesystems, and options of one."""
    assert [str(each) for each in Filesystem.parse_list(text)] == given


@pytest.mark.parametrize("text", ["ntfs", "ext4,noatime", "posix:sync", "posix:sync,ext4"])
def test_what_is_none(text: str) -> None:
    """An option goes on where options began, and nowhere else."""
    with pytest.raises(InvalidOption):
        Filesystem.parse_list(text)
