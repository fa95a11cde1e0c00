"""The recorder: a process that serves one disk through FUSE and logs everything that reaches it in one total order.

    python -m faults.disk.recorder MOUNTPOINT --image FILE --log FILE [--parent PID] [--cpu N] [--stall-seconds S]

Three files appear under MOUNTPOINT:

    disk     the image, of its size. What is written stays in memory; FILE is the pristine content and never changes
    notes    write-only. Each line written becomes a note in the log; it needs no locking and no reply
    control  a write is one command, done when write(2) returns: `mark NAME`, `fail write|flush N ERRNO once|always`
             (the N-th such request from here on, 1 the next; ERRNO a name such as EIO), `heal`.
             An unknown command fails with EINVAL. A read gives the recorder's state as JSON

Log format: entries `<u8 kind, u32 length, u64 offset, u64 number>` little-endian, then `length` bytes. Kinds: WRITE (offset,
data), FLUSH, NOTE (text), MARK (text), FAILED (offset; request and length as text; the error number). Each entry is one
write(2), so the log is complete at any moment, whatever happens to this process.

Invariants:
- One thread serves all requests. That is the total order: an entry is in the log before its request is answered.
- A flush makes durable exactly the writes before it in the log: it arrives after their replies.
- A failed request changes nothing: neither the disk nor what counts as durable.
- Discards and range zeroing are refused with EOPNOTSUPP. The kernel then writes zeros itself, which are recorded like
  any write, and gives up discarding, which promises nothing anyway.
- No client hangs for ever: the kernel kills this process when its parent ends (parent-death signal), or when one
  request takes longer than the stall limit (an interval timer, which needs no cooperation from Python). Clients then
  get an error.

This file runs as a program of its own and imports nothing of ours, so that it starts fast.
"""

# ruff: noqa: ARG002 -- FUSE decides what its operations are given.

import argparse
import ctypes
import errno
import json
import mmap
import os
import signal
import stat
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "CONTROL_NAME",
    "DISK_NAME",
    "ENTRY",
    "FAILED",
    "FLUSH",
    "GREETING",
    "MARK",
    "NOTE",
    "NOTES_NAME",
    "WRITE",
    "PlannedFault",
    "Recorder",
    "append_entry",
    "main",
    "read_log",
]

DISK_NAME, NOTES_NAME, CONTROL_NAME = "disk", "notes", "control"
GREETING = "crashmatrix recording disk"
"""The `role` in the control file's JSON, by which a client knows that the mount is there and is ours."""

ENTRY = struct.Struct("<BIQQ")
WRITE, FLUSH, NOTE, MARK, FAILED = range(1, 6)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class PlannedFault:
    """Fails the `nth` request of one kind from now on with `error`; with `always`, each one after it too."""

    def __init__(self, request: str, nth: int, error: int, always: bool) -> None:
        self.request, self.error, self.always = request, error, always
        self._before = nth - 1
        self.fired = 0

    def hit(self, request: str) -> bool:
        """Count one request; whether it is to fail."""
        if request != self.request or (self.fired and not self.always):
            return False
        if self._before:
            self._before -= 1
            return False
        self.fired += 1
        return True


class Recorder:
    """FUSE operations over a disk held in memory. Methods are called by mfusepy with its argument order."""

    use_ns = True

    def __init__(self, image: str, log: str, stall_seconds: float) -> None:
        descriptor = os.open(image, os.O_RDONLY)
        self._size = os.fstat(descriptor).st_size
        # Private: the image file stays as it was, the base that the reader of the log starts from.
        self._disk = mmap.mmap(descriptor, self._size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(descriptor)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._stall_seconds = stall_seconds
        self._faults: list[PlannedFault] = []
        self._unfinished: dict[int, bytes] = {}
        self._handles = 0
        self._counts = {"writes": 0, "flushes": 0, "notes": 0, "failed": 0}

    def init(self, path: str) -> None:
        """Nothing to prepare; mfusepy asks for it."""

    def getattr(self, path: str, fh: Any = None) -> dict[str, int]:
        """The root directory and the three files."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        name = path[1:]
        if name not in (DISK_NAME, NOTES_NAME, CONTROL_NAME):
            raise OSError(errno.ENOENT, path)
        # Anyone may write notes: a workload need not run as root to make promises.
        mode = 0o622 if name == NOTES_NAME else 0o600
        return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": self._size if name == DISK_NAME else 0}

    def readdir(self, path: str, fh: Any) -> list[str]:
        """The names of the three files."""
        return [".", "..", DISK_NAME, NOTES_NAME, CONTROL_NAME]

    def open(self, path: str, fi: Any) -> int:
        """Give each opening of the small files a handle of its own and keep the page cache away from them."""
        self._handles += 1
        fi.fh = self._handles
        # Direct: a write is one request however long and wherever, and a read does not believe the size 0.
        fi.direct_io = int(path[1:] != DISK_NAME)
        return 0

    def truncate(self, path: str, length: int, fh: Any = None) -> int:
        """Ignored, so that a shell's `>` works on the notes; the disk keeps its size."""
        if path[1:] == DISK_NAME and length != self._size:
            raise OSError(errno.EPERM, path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        """Bytes of the disk, or the recorder's state."""
        if path[1:] == DISK_NAME:
            return self._disk[offset : offset + size]
        if path[1:] == CONTROL_NAME:
            return self._state()[offset : offset + size]
        return b""

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        """Log, then do, one block write, note or command."""
        signal.setitimer(signal.ITIMER_REAL, self._stall_seconds)
        try:
            if path[1:] == DISK_NAME:
                if offset + len(data) > self._size:
                    raise OSError(errno.ENOSPC, path)
                self._fail_if_planned("write", offset, len(data))
                self._append(WRITE, data, offset)
                self._counts["writes"] += 1
                self._disk[offset : offset + len(data)] = data
            elif path[1:] == NOTES_NAME:
                self._take_notes(fh.fh, data)
            else:
                self._command(data.decode().split())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        """A flush of the disk: what came before it is durable from here."""
        if path[1:] != DISK_NAME:
            return 0
        signal.setitimer(signal.ITIMER_REAL, self._stall_seconds)
        try:
            self._fail_if_planned("flush", 0, 0)
            self._append(FLUSH)
            self._counts["flushes"] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return 0

    def flush(self, path: str, fh: Any) -> int:
        """close(2) of a file; an unfinished line of notes counts as a line then."""
        rest = self._unfinished.pop(fh.fh, b"")
        if rest:
            self._note(rest)
        return 0

    def fallocate(self, path: str, mode: int, offset: int, length: int, fh: Any) -> int:
        """Refused: see the module's invariants."""
        raise OSError(errno.EOPNOTSUPP, path)

    def _take_notes(self, handle: int, data: bytes) -> None:
        *lines, rest = (self._unfinished.pop(handle, b"") + data).split(b"\n")
        for line in lines:
            self._note(line)
        if rest:
            self._unfinished[handle] = rest

    def _note(self, line: bytes) -> None:
        self._append(NOTE, line)
        self._counts["notes"] += 1

    def _command(self, words: list[str]) -> None:
        match words:
            case ["mark", name]:
                self._append(MARK, name.encode())
            case ["fail", ("write" | "flush") as request, nth, error, ("once" | "always") as how]:
                number = getattr(errno, error, None)
                if not (nth.isdigit() and int(nth) and isinstance(number, int)):
                    raise OSError(errno.EINVAL, "fail")
                self._faults.append(PlannedFault(request, int(nth), number, how == "always"))
            case ["heal"]:
                self._faults.clear()
            case _:
                raise OSError(errno.EINVAL, "unknown command")

    def _fail_if_planned(self, request: str, offset: int, length: int) -> None:
        # Every fault counts every request, or two faults would shift each other.
        fired = [fault for fault in self._faults if fault.hit(request)]
        if not fired:
            return
        error = fired[0].error
        self._counts["failed"] += 1
        self._append(FAILED, b"%s %d" % (request.encode(), length), offset, error)
        raise OSError(error, request)

    def _append(self, kind: int, data: bytes = b"", offset: int = 0, number: int = 0) -> None:
        append_entry(self._log, kind, offset, data, number)

    def _state(self) -> bytes:
        fired = sum(fault.fired for fault in self._faults)
        state = {"role": GREETING, "pid": os.getpid(), "size": self._size, "fired": fired, **self._counts}
        return json.dumps(state).encode() + b"\n"


def append_entry(log: int, kind: int, offset: int, data: bytes, number: int) -> None:
    """Add an entry to the log, an open file; if that fails, end this process."""
    entry = ENTRY.size + len(data)
    try:
        whole = os.writev(log, [ENTRY.pack(kind, len(data), offset, number), data]) == entry
    except OSError:
        whole = False
    if not whole:
        # A trace with a gap would accuse innocent systems: better no trace, and an error for every client.
        sys.stderr.write("recorder: cannot write the log (is memory full?)\n")
        os._exit(1)


def read_log(data: memoryview) -> Iterator[tuple[int, int, bytes, int]]:
    """The entries of a log as (kind, offset, data, number). Raises ValueError at an entry that is cut off."""
    position = 0
    while position < len(data):
        if position + ENTRY.size > len(data):
            raise ValueError(f"the log ends inside an entry at byte {position}")
        kind, length, offset, number = ENTRY.unpack_from(data, position)
        start = position + ENTRY.size
        position = start + length
        if position > len(data):
            raise ValueError(f"the log ends inside an entry at byte {start - ENTRY.size}")
        yield kind, offset, bytes(data[start:position]), number


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"recorder: process {parent} is not my parent (any more)")


def _choose_libfuse() -> None:
    """Left alone, mfusepy prefers libfuse 2, which cuts writes into pages, and takes 20 ms to look for it."""
    os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
    for name in ("libfuse3.so.4", "libfuse3.so.3"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        os.environ.setdefault("FUSE_LIBRARY_PATH", name)
        return


def _serve(recorder: Recorder, mountpoint: str, fuse: Callable[..., object]) -> None:
    # Single-threaded on purpose; the kernel's writeback cache, which would merge and delay writes, is off by default.
    fuse(recorder, mountpoint, raw_fi=True, foreground=True, nothreads=True, fsname="crashmatrix")


def main(arguments: list[str] | None = None) -> int:
    """Serve until unmounted. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="faults.disk.recorder", description="Serve and record one disk.")
    parser.add_argument("mountpoint")
    parser.add_argument("--image", required=True, help="the disk's first content; its size is the disk's size")
    parser.add_argument("--log", required=True, help="where the log goes; appended to")
    parser.add_argument("--parent", type=int, help="end when this process, which started the recorder, ends")
    parser.add_argument("--cpu", type=int, help="the CPU to stay on: waking across CPUs costs a request four times")
    parser.add_argument("--stall-seconds", type=float, default=30.0, help="die when one request takes longer")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        _die_with(options.parent)
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    _choose_libfuse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mfusepy import FUSE  # After the parent-death signal is set: loading libfuse takes a while.

    _serve(Recorder(options.image, options.log, options.stall_seconds), options.mountpoint, FUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
