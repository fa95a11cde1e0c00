"""Extents say where a file lies on its disk: the bytes found there are the file's."""

import os
import random
from pathlib import Path

import pytest

from crashmatrix.faults.disk import Filesystem, enter_private_namespace
from crashmatrix.faults.disk.linux.containment import anonymous_file
from crashmatrix.faults.disk.linux.extents import extents_of
from crashmatrix.faults.disk.linux.kernel import unmount
from crashmatrix.faults.disk.linux.loop import LoopDevice
from tests.faults.disk.support import in_child


def test_extents_of_what_has_none(tmp_path: Path) -> None:
    """A file that is missing, or has no blocks, has no extents: nothing is raised."""
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")
    for name in ("empty", "missing", "link"):
        assert list(extents_of(str(tmp_path / name))) == []


@pytest.mark.usefixtures("disk")
def test_the_disk_has_the_files_bytes_there() -> None:
    """The bytes at a file's extents are the file's, with holes and with more extents than one call returns."""

    def run() -> tuple[bytes, bytes, int]:
        folder = enter_private_namespace() / "mounted"
        folder.mkdir()
        with anonymous_file("disk") as disk:
            os.ftruncate(disk, 64 << 20)
            filesystem = Filesystem.parse("ext4")
            filesystem.make(f"/dev/fd/{disk}", seed=1, descriptors=(disk,))
            with LoopDevice(disk) as loop:
                filesystem.mount(loop.path, folder)
                with (folder / "file").open("wb") as file:
                    for number in range(150):
                        file.seek(number * 8192)
                        file.write(random.Random(number).randbytes(4096))
                    file.flush()
                    os.fsync(file.fileno())
                content = (folder / "file").read_bytes()
                extents = list(extents_of(str(folder / "file")))
                unmount(folder)
                loop.forget_cached_blocks()
            found = bytearray(len(content))
            for extent in extents:
                found[extent.logical : extent.logical + extent.length] = os.pread(disk, extent.length, extent.physical)
            return content, bytes(found), len(extents)

    content, found, number = in_child(run)
    assert found == content
    assert number >= 150
