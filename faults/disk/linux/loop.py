"""Loop devices: the kernel serves a plain file as a disk.

Invariants: a device is attached with LOOP_CONFIGURE and autoclear in one step, so there is no moment at which a killed
process could leave it behind; it goes when its last user (a descriptor or a mount) does. The file's logical block size
is 512 bytes, the unit in which a crash tears a write. While the object exists it holds an exclusive flock on the device,
which tells udev not to read it: a read at the wrong moment would cache blocks that are about to change
below (https://systemd.io/BLOCK_DEVICE_LOCKING).
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from typing import Self

from crashmatrix.faults.disk.errors import SystemCallFailed
from crashmatrix.faults.disk.linux.kernel import opened

__all__ = ["LoopDevice"]

_LOOP_CTL_GET_FREE = 0x4C82  # linux/loop.h
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CLR_FD = 0x4C01
_BLKFLSBUF = 0x1261  # linux/fs.h
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_MAJOR = 7
_REMEDY = "load the loop driver (modprobe loop) and run as root, in a privileged container"
_ATTEMPTS = 200


class LoopDevice:
    """A loop device over an open file, attached for as long as this object or a mount uses it.

    `path` is the device, `backing` the descriptor it was made from (not owned). Raises SystemCallFailed.
    """

    def __init__(self, backing: int) -> None:
        self.path, self._descriptor = _attach(backing)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def forget_cached_blocks(self) -> None:
        """Drop the kernel's cache of the device, so that changes to the file below become visible."""
        fcntl.ioctl(self._descriptor, _BLKFLSBUF, 0)

    def close(self) -> None:
        """Detach, at once or when the last mount is gone."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, _LOOP_CLR_FD, 0)
        descriptor, self._descriptor = self._descriptor, -1  # First: an error of close(2) leaves the number free.
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _attach(backing: int) -> tuple[str, int]:
    configuration = _configuration(backing)
    with opened("/dev/loop-control", _REMEDY) as control:
        for attempt in range(_ATTEMPTS):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            path = f"/dev/loop{number}"
            try:
                device = _open_device(path, number)
                try:
                    fcntl.ioctl(device, _LOOP_CONFIGURE, configuration)
                except OSError:
                    os.close(device)
                    raise
                return path, device
            except OSError as error:
                # Between "this one is free" and now another process may have taken it.
                if error.errno not in (errno.EBUSY, errno.ENXIO) or attempt == _ATTEMPTS - 1:
                    raise SystemCallFailed(f"attaching {path}", error.errno or 0, _REMEDY) from error
                time.sleep(0.001 * min(attempt, 10))
    raise AssertionError("the loop above returns or raises")


def _open_device(path: str, number: int) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Containers have a /dev of their own, where nothing makes the nodes of new devices.
        os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(_LOOP_MAJOR, number))
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _configuration(backing: int) -> bytes:
    # struct loop_config: fd, block size, then struct loop_info64 (flags at byte 52 of its 232), then 8 reserved words.
    info = struct.pack("<52xI176x", _LO_FLAGS_AUTOCLEAR)
    return struct.pack("<II", backing, 512) + info + bytes(64)
