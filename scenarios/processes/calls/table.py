"""The system calls that change a file or a folder, on x86-64 and aarch64 up to Linux 6.17, and how each names what it changes.

Made by going through both tables from the first number to the last. Left out, and why:

    read and the like              change nothing; only `READS`, which are waited for if reads are to fail
    lseek, flock, fcntl, readahead, fadvise64, cachestat    change no content, name or attribute (a time of access at most)
    tee, vmsplice                  fill pipes only
    close, munmap, exit            the last use of a removed file ends; no name shows it
    sync, io_getevents             change nothing that a killed process leaves; what was submitted is on its way already
    sendto, sendmsg                write to sockets, or hand descriptors to others of the tree, who are watched themselves
    mount, umount2, move_mount, pivot_root, ...   the folder is never looked at through mounts
    process_vm_writev, ptrace, writes to /proc/PID/mem   could store to another process's mapping: nobody should
    mmap, mprotect, mremap         change nothing themselves; the stores that follow are `mapped_stores`' business
    io_uring_enter, io_uring_register   need a ring, and no ring can be made, see `REFUSED`
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from typing import Final

from crashmatrix.scenarios.processes.calls.seccomp import CallFilter

__all__ = ["ASIDE", "KINDS", "MMAP", "READS", "REFUSED", "SLEEPS", "Kind", "column", "filters"]

_CREATES = os.O_CREAT | os.O_TRUNC
_MADV_REMOVE, _DONTNEED = 9, 4
_IOCTLS = (
    0x40049409,  # FICLONE
    0x4020940D,  # FICLONERANGE
    0xC0189436,  # FIDEDUPERANGE
    0x40086602,  # FS_IOC_SETFLAGS: immutable, append-only
    0x401C5820,  # FS_IOC_FSSETXATTR
    0x40806685,  # FS_IOC_ENABLE_VERITY
    0xC028660F,  # EXT4_IOC_MOVE_EXT
    0x40305828,  # FS_IOC_RESVSP, and below FS_IOC_RESVSP64
    0x4030582A,
    0x40305829,  # FS_IOC_UNRESVSP, and below FS_IOC_UNRESVSP64
    0x4030582B,
    0x40305839,  # FS_IOC_ZERO_RANGE
)


@dataclass(frozen=True)
class Kind:
    """A system call: its numbers (x86_64, aarch64; 0: not there), and the arguments that name what it changes."""

    numbers: tuple[int, int]
    files: tuple[int, ...] = ()
    """Descriptors."""
    paths: tuple[tuple[int | None, int], ...] = ()
    """Pairs of directory descriptor (None: the current directory) and path; without a path, the directory itself."""
    bits: tuple[int, int] | None = None
    """An argument, and the bits of which it must have one for the call to change anything."""
    values: tuple[int, tuple[int, ...]] | None = None
    """An argument, and the values of which it must be one."""
    anywhere: bool = False
    """It names nothing that can be looked up, so each counts."""


KINDS: Final = {
    "write": Kind((1, 64), (0,)),
    "pwrite64": Kind((18, 68), (0,)),
    "writev": Kind((20, 66), (0,)),
    "pwritev": Kind((296, 70), (0,)),
    "pwritev2": Kind((328, 287), (0,)),
    "sendfile": Kind((40, 71), (0,)),
    "copy_file_range": Kind((326, 285), (2,)),
    "splice": Kind((275, 76), (2,)),
    "io_submit": Kind((209, 2)),  # Its files are in memory, see `arguments`.
    "ioctl": Kind((16, 29), (0,), values=(1, _IOCTLS)),
    "ftruncate": Kind((77, 46), (0,)),
    "fallocate": Kind((285, 47), (0,)),
    "madvise": Kind((28, 233), values=(2, (_MADV_REMOVE,)), anywhere=True),
    "fsync": Kind((74, 82), (0,)),
    "fdatasync": Kind((75, 83), (0,)),
    "sync_file_range": Kind((277, 84), (0,)),
    "syncfs": Kind((306, 267), (0,)),
    "msync": Kind((26, 227), anywhere=True),
    "truncate": Kind((76, 45), paths=((None, 0),)),
    "creat": Kind((85, 0), paths=((None, 0),)),
    "open": Kind((2, 0), paths=((None, 0),), bits=(1, _CREATES)),
    "openat": Kind((257, 56), paths=((0, 1),), bits=(2, _CREATES)),
    "openat2": Kind((437, 437), paths=((0, 1),)),
    "open_by_handle_at": Kind((304, 265), bits=(2, os.O_TRUNC), anywhere=True),
    "mkdir": Kind((83, 0), paths=((None, 0),)),
    "mkdirat": Kind((258, 34), paths=((0, 1),)),
    "mknod": Kind((133, 0), paths=((None, 0),)),
    "mknodat": Kind((259, 33), paths=((0, 1),)),
    "bind": Kind((49, 200)),  # The name of a socket, see `arguments`.
    "rmdir": Kind((84, 0), paths=((None, 0),)),
    "unlink": Kind((87, 0), paths=((None, 0),)),
    "unlinkat": Kind((263, 35), paths=((0, 1),)),
    "rename": Kind((82, 0), paths=((None, 0), (None, 1))),
    "renameat": Kind((264, 38), paths=((0, 1), (2, 3))),
    "renameat2": Kind((316, 276), paths=((0, 1), (2, 3))),
    "link": Kind((86, 0), paths=((None, 1),)),
    "linkat": Kind((265, 37), paths=((2, 3),)),
    "symlink": Kind((88, 0), paths=((None, 1),)),
    "symlinkat": Kind((266, 36), paths=((1, 2),)),
    "chmod": Kind((90, 0), paths=((None, 0),)),
    "fchmod": Kind((91, 52), (0,)),
    "fchmodat": Kind((268, 53), paths=((0, 1),)),
    "fchmodat2": Kind((452, 452), paths=((0, 1),)),
    "chown": Kind((92, 0), paths=((None, 0),)),
    "lchown": Kind((94, 0), paths=((None, 0),)),
    "fchown": Kind((93, 55), (0,)),
    "fchownat": Kind((260, 54), paths=((0, 1),)),
    "utime": Kind((132, 0), paths=((None, 0),)),
    "utimes": Kind((235, 0), paths=((None, 0),)),
    "futimesat": Kind((261, 0), paths=((0, 1),)),
    "utimensat": Kind((280, 88), paths=((0, 1),)),
    "setxattr": Kind((188, 5), paths=((None, 0),)),
    "lsetxattr": Kind((189, 6), paths=((None, 0),)),
    "fsetxattr": Kind((190, 7), (0,)),
    "setxattrat": Kind((463, 463), paths=((0, 1),)),
    "removexattr": Kind((197, 14), paths=((None, 0),)),
    "lremovexattr": Kind((198, 15), paths=((None, 0),)),
    "fremovexattr": Kind((199, 16), (0,)),
    "removexattrat": Kind((466, 466), paths=((0, 1),)),
    "file_setattr": Kind((469, 469), paths=((0, 1),)),
}
"""By name: every call at which the process may be killed."""

SLEEPS: Final = {"nanosleep": (35, 101), "clock_nanosleep": (230, 115)}

MMAP: Final = (9, 222)

_SHARED = 3, 1
"""mmap(2): its flags, and a bit that MAP_SHARED and MAP_SHARED_VALIDATE have."""

READS: Final = {
    "read": Kind((0, 63), (0,)),
    "pread64": Kind((17, 67), (0,)),
    "readv": Kind((19, 65), (0,)),
    "preadv": Kind((295, 69), (0,)),
    "preadv2": Kind((327, 286), (0,)),
}

ASIDE: Final = {
    "sync": Kind((162, 81)),
    "fadvise64": Kind((221, 223), (0,), values=(3, (_DONTNEED,))),
    "open": Kind((2, 0), paths=((None, 0),), bits=(1, os.O_DIRECT)),
    "openat": Kind((257, 56), paths=((0, 1),), bits=(2, os.O_DIRECT)),
}
"""Calls that change no file. They are waited for if account is kept of pages (`page_cache`)."""

REFUSED: Final = {"io_uring_setup": (425, 425)}
"""Answered with ENOSYS, as by a kernel that lacks them.

The kernel carries out the requests in a ring at some time, with no call that could be held back. So there is no ring. Programs
that use one have a way without it, since containers refuse rings, too. They are crashed on that way, and the report says so.
"""


@cache
def column() -> int:
    """Return which of two numbers is this machine's."""
    return ("x86_64", "aarch64").index(platform.machine())


def filters(*, sleeps: bool, reads: bool, pages: bool) -> list[CallFilter]:
    """Return the calls to wait at, with those of `SLEEPS`, of `READS`, and of `ASIDE` if they are wanted."""
    kinds = {name: (kind.numbers[column()], kind.bits, kind.values) for name, kind in KINDS.items()}
    for name, kind in ASIDE.items() if pages else ():
        bits = kind.bits
        if bits and name in KINDS and (also := KINDS[name].bits):  # One filter for both.
            bits = bits[0], bits[1] | also[1]
        kinds[name] = kind.numbers[column()], bits, kind.values
    found = [CallFilter(number, bits, values) for number, bits, values in kinds.values() if number]
    found += [CallFilter(kind.numbers[column()]) for kind in READS.values() if reads]
    others = [*REFUSED.values(), *(SLEEPS.values() if sleeps else ())]
    return [*found, CallFilter(MMAP[column()], bits=_SHARED), *(CallFilter(numbers[column()]) for numbers in others)]
