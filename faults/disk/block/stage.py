"""A stage with a real filesystem on a recorded disk: a recorder, a loop device over its file, and the mount."""

import os
from pathlib import Path

from crashmatrix.faults.disk.block.recorder import DISK_NAME, DiskRecorder
from crashmatrix.faults.disk.block.sectors import content
from crashmatrix.faults.disk.linux.loop import LoopDevice
from crashmatrix.faults.disk.stage import DATA, Stage

__all__ = ["DiskStage"]


class DiskStage(Stage):
    """A recorded disk."""

    def _place_files(self, folder: Path) -> Path:
        files = folder / "recorder"
        files.mkdir()
        return files

    def _mount(self) -> None:
        if self._recorder:
            self.command("again")
        else:
            self._lay_out()
            self._start(DiskRecorder(self._image, self._log, self.switch))
        disk = os.open(self._files / DISK_NAME, os.O_RDWR | os.O_CLOEXEC)
        try:
            with LoopDevice(disk) as loop:  # The mount keeps it; autoclear ends it.
                self._filesystem.mount(loop.path, self.mount_point)
                self._device = loop.path
                self._mounted = True
        finally:
            os.close(disk)
        (self.mount_point / DATA).mkdir(exist_ok=self._crashed is not None)

    def _lay_out(self) -> None:
        """Put the disk's first content on the image."""
        if self._crashed is None:
            self._filesystem.make(
                f"/dev/fd/{self._image}",
                seed=self._seed,
                descriptors=(self._image,),
                gives_room_back=self.gives_room_back,
            )
            return
        for offset, data in content(*self._crashed):
            os.pwrite(self._image, data, offset)
        self._filesystem.repair(f"/dev/fd/{self._image}", descriptors=(self._image,))

    def forget_disk(self) -> None:
        """Drop the page cache of the recorder's file, through which the loop device reads."""
        disk = os.open(self._files / DISK_NAME, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(disk)
