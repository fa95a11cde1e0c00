"""The recorder of a disk: it serves one file, which a loop device turns into a disk.

    disk     the image, of its size. Writes stay in memory; the image's file never changes

Beside `mark`, the control file takes `fail write|flush|read N ERRNO once|always` (the N-th such request from now on; 1 is the
next; ERRNO is a name such as EIO), `heal`, and `again`: the disk is as it was at first, and the log is empty.

Invariants:
- A flush makes durable exactly the writes before it in the log: it arrives after their replies.
- A failed request changes nothing: neither the disk nor which writes are durable.
- Discards and range zeroing (`fallocate`) are not answered. The kernel then writes zeros itself, which are recorded like
  any write, and stops discarding, which promises nothing anyway.

Every write is in the log already, and the kernel usually reads it back from its page cache. So the disk in memory is
updated only when the kernel requests bytes that it no longer caches. This saves a tenth of a recording's time.
"""

import errno
import mmap
import os
import stat

from crashmatrix.faults.disk.block.fault_switch import FaultSwitch
from crashmatrix.faults.disk.inode import Inode
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.fuse import Request
from crashmatrix.faults.disk.recorder import RECORDED, Recorder
from crashmatrix.faults.disk.trace.durability import START
from crashmatrix.faults.disk.trace.log import FAILED, FLUSH, WRITE
from crashmatrix.faults.disk.trace.trace import FINISH

__all__ = ["DISK_NAME", "DiskRecorder", "PlannedFault"]

DISK_NAME = "disk"


class PlannedFault:
    """Fails the `nth` request of one kind from now on with `error`; with `always`, each one after it too."""

    def __init__(self, request: str, nth: int, error: int, always: bool) -> None:
        self.request, self.error, self.always = request, error, always
        self._before = nth - 1
        self.fired = 0

    def hit(self, request: str) -> bool:
        """Count one request; return whether it has to fail."""
        if request != self.request or (self.fired and not self.always):
            return False
        if self._before:
            self._before -= 1
            return False
        self.fired += 1
        return True


class DiskRecorder(Recorder):
    """A disk that starts as the image; `image` and `log` are open files. The switch tells of failures, and ends them."""

    def __init__(self, image: int, log: int, switch: FaultSwitch | None = None) -> None:
        self._image, self._switch = image, switch
        self._size = os.fstat(image).st_size
        super().__init__(log, DISK_NAME, Inode(RECORDED, stat.S_IFREG | 0o600, links=1, size_fixed=self._size))
        self._disk = self._at_first()
        self._is_cached = True
        """Whether what the kernel has cached of the disk is right."""
        self._in_log: list[tuple[int, int, int]] = []
        """Writes that are not in `_disk` yet: offset, length, position in the log."""
        self._faults: list[PlannedFault] = []
        self._reads_before = 0
        self._counts = dict.fromkeys(("writes", "flushes", "reads", "failed"), 0)

    def _at_first(self) -> mmap.mmap:
        """Return the image in memory. Private: its file stays as it was, the base that the reader of the log starts from."""
        return mmap.mmap(self._image, self._size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)

    def _begin_again(self) -> None:
        super()._begin_again()
        self._disk.close()
        self._disk, self._is_cached = self._at_first(), False
        self._in_log.clear()
        self._faults.clear()
        self._counts = dict.fromkeys(self._counts, 0)

    def _open(self, request: Request) -> bytes:
        if request.node != RECORDED or self._is_cached:
            return super()._open(request)
        self._is_cached = True
        return self._opened(0)  # Has the kernel drop what it has cached.

    def _content(self, _: int, offset: int, length: int, /) -> bytes:
        self._fail_if_planned("read", offset, length)
        self._counts["reads"] += 1
        with memoryview(self._disk) as disk:
            for start, size, position in self._in_log:
                self._log.read_into(disk[start : start + size], position)
        self._in_log.clear()
        return self._disk[offset : offset + length]

    def _put(self, _: int, offset: int, data: memoryview, /) -> None:
        if offset + len(data) > self._size:
            raise OSError(errno.ENOSPC, "the disk ends before this offset")
        self._fail_if_planned("write", offset, len(data))
        self._in_log.append((offset, len(data), self._log.append(WRITE, offset, data)))
        self._counts["writes"] += 1

    def _fsync(self, request: Request) -> bytes:
        if request.node == RECORDED:
            self._fail_if_planned("flush", 0, 0)
            self._log.append(FLUSH)
            self._counts["flushes"] += 1
        return b""

    def _setattr(self, request: Request) -> bytes:
        """Change nothing: a shell's `>` works on the notes, and the disk keeps its size."""
        size = fuse.Setattr.of(request).size
        if request.node == RECORDED and size not in (None, self._size):
            raise OSError(errno.EPERM, "a disk keeps its size")
        return self._getattr(request)

    def _refused(self, _: Request) -> bytes:
        raise OSError(errno.EPERM, "the three files are all there is")

    _create = _mknod = _mkdir = _symlink = _link = _unlink = _rmdir = _rename = _rename2 = _refused

    def _command(self, words: list[str]) -> None:
        match words:
            case ["fail", ("write" | "flush" | "read") as request, nth, error, ("once" | "always") as how]:
                number = getattr(errno, error, None)
                if not (nth.isdigit() and int(nth) and isinstance(number, int)):
                    raise OSError(errno.EINVAL, "fail")
                self._faults.append(PlannedFault(request, int(nth), number, how == "always"))
            case ["heal"]:
                self._faults.clear()
            case ["again"]:
                self._begin_again()
            case ["mark", name]:
                super()._command(words)
                self._note_reads(name)
            case _:
                super()._command(words)

    def _note_reads(self, mark: str) -> None:
        """Reads are in no trace, so the switch tells how many there were between two marks."""
        if mark == START:
            self._reads_before = self._counts["reads"]
        elif mark == FINISH and self._switch:
            self._switch.note_reads(self._counts["reads"] - self._reads_before)

    def _fail_if_planned(self, request: str, offset: int, length: int) -> None:
        if self._switch and self._switch.healed:
            return
        # Every fault counts every request, or two faults would shift each other.
        fired = [fault for fault in self._faults if fault.hit(request)]
        if not fired:
            return
        error = fired[0].error
        self._counts["failed"] += 1
        if self._switch:
            self._switch.note_failure()
        self._log.append(FAILED, offset, b"%s %d" % (request.encode(), length), error)
        raise OSError(error, request)

    def _state(self) -> dict[str, object]:
        fired = sum(fault.fired for fault in self._faults)
        return {"size": self._size, "fired": fired, **self._counts}
