"""System calls that Python's standard library does not offer, one thin function each, with typed errors.

Needs only libc, through ctypes. Numbers are those of Linux on every architecture CPython runs on, taken from the
headers named beside them. No function keeps state.
"""

import contextlib
import ctypes
import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from crashmatrix.faults.disk.errors import MountRefused, SystemCallFailed

__all__ = [
    "MOUNT_FLAGS",
    "copy_memory",
    "die_with_parent",
    "end_child",
    "keep_processors_awake",
    "make_propagation_private",
    "mount",
    "opened",
    "same_memory",
    "start_writeback",
    "sync_filesystem",
    "unmount",
    "unmount_when_free",
    "unshare_mounts",
    "unshare_processes",
]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_CLONE_NEWPID = 0x20000000
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MS_REC_PRIVATE = 0x4000 | 0x40000  # linux/mount.h
_MNT_DETACH = 2
_SYNC_FILE_RANGE_WRITE_AND_WAIT = 1 | 2 | 4  # linux/fs.h

MOUNT_FLAGS = {
    "sync": 0x10,
    "dirsync": 0x80,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
    "strictatime": 0x1000000,
    "lazytime": 0x2000000,
}
"""Mount options that mount(2) takes as flags and not as text, from linux/mount.h."""


def keep_processors_awake() -> None:
    """Have idle processors poll instead of halting for as long as this process lives; do nothing where the kernel refuses.

    Waking a halted processor, especially a virtual one, takes as long as answering a request. Source: the kernel's
    Documentation/power/pm_qos_interface.rst.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(
            "/dev/cpu_dma_latency", os.O_WRONLY | os.O_CLOEXEC
        )  # Left open: closing the file ends the effect.
        os.write(descriptor, bytes(4))  # A latency of 0 microseconds, as a 32-bit number.


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends, and end now if it already has.

    Call it first thing in a forked child, with what os.getpid() was before the fork. Survives exec, not fork.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call above: then no signal will ever come.
    if os.getppid() != parent:
        os._exit(1)


def end_child(pid: int) -> None:
    """SIGKILL a child of this process that was not waited for yet; any other process with that number is left alone."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # Refuses a process that is not our child.
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except (ChildProcessError, ProcessLookupError):
        pass
    finally:
        os.close(process)


def unshare_mounts() -> None:
    """Give the calling thread its own copy of the mount table.

    Without CAP_SYS_ADMIN, the process also moves into a user namespace, where it is root over its own mounts. This
    requires a process with one thread. Raises SystemCallFailed.
    """
    if not _libc.unshare(_CLONE_NEWNS):
        return
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
        raise SystemCallFailed("unshare(CLONE_NEWNS)", ctypes.get_errno(), "run as root, in a privileged container")
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    except OSError as error:
        raise SystemCallFailed("mapping the user into its namespace", error.errno or 0, "run as root") from error


def unshare_processes() -> None:
    """Have the next forked child start a PID namespace, as its init. Raises SystemCallFailed without CAP_SYS_ADMIN."""
    if _libc.unshare(_CLONE_NEWPID):
        raise SystemCallFailed("unshare(CLONE_NEWPID)", ctypes.get_errno(), "run as root, in a privileged container")


def make_propagation_private(place: Path = Path("/")) -> None:
    """Keep later mounts and unmounts at this mount, or below it, from showing in other namespaces and copies.

    Raises SystemCallFailed.
    """
    if _libc.mount(b"none", os.fsencode(place), None, _MS_REC_PRIVATE, None):
        raise SystemCallFailed(
            f"mount({place}, MS_PRIVATE)", ctypes.get_errno(), "run as root, in a privileged container"
        )


def mount(source: str, target: Path, filesystem: str, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises MountRefused with the error number."""
    if _libc.mount(source.encode(), os.fsencode(target), filesystem.encode(), flags, options.encode() or None):
        call = f"mounting {source} as {filesystem}" + (f" with {options}" if options else "")
        raise MountRefused(call, ctypes.get_errno(), "look at the last lines of dmesg for the filesystem's reason")


def unmount(target: Path, *, detach: bool = False) -> None:
    """umount2(2); with `detach`, invisible now and unmounted when its last user ends. Raises SystemCallFailed."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH if detach else 0):
        raise SystemCallFailed(
            f"unmounting {target}", ctypes.get_errno(), "end the processes that have files open there"
        )


def unmount_when_free(target: Path, patience_seconds: float) -> bool:
    """Unmount, waiting for processes that were killed a moment ago and have not ended yet. Return whether it worked."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            unmount(target)
            return True
        except SystemCallFailed as error:
            if error.errno != errno.EBUSY:
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


@contextlib.contextmanager
def opened(device: str, remedy: str) -> Iterator[int]:
    """A device, open for the block. Raises SystemCallFailed."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SystemCallFailed(f"opening {device}", error.errno or 0, remedy) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_filesystem(descriptor: int) -> None:
    """syncfs(2) of the filesystem that holds the open file. Raises SystemCallFailed, for example after I/O errors."""
    if _libc.syncfs(descriptor):
        raise SystemCallFailed("syncfs", ctypes.get_errno(), "the disk below failed: see dmesg")


def start_writeback(descriptor: int, offset: int, length: int) -> None:
    """sync_file_range(2): write these bytes' dirty pages and wait; no metadata, no flush. Errors are ignored.

    The kernel may write these pages at any time anyway, so a refusal changes no promise.
    """
    _libc.sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE_AND_WAIT)


def same_memory(left: int, right: int, length: int) -> bool:
    """Whether two ranges of this process's memory, given by address, hold the same bytes."""
    return bool(_libc.memcmp(left, right, length) == 0)


def copy_memory(target: int, source: int, length: int) -> None:
    """memmove(3) between addresses."""
    ctypes.memmove(target, source, length)
