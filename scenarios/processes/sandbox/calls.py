"""System calls that a sandbox needs and Python's standard library lacks, one thin function each. All raise OSError.

Numbers are those of Linux on every architecture that crashmatrix runs on: linux/mount.h, linux/sched.h, linux/capability.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

__all__ = [
    "MOUNTS",
    "NETWORK",
    "PROCESSES",
    "USERS",
    "attach_tree",
    "drop_capabilities",
    "enter_namespaces",
    "leave_namespaces",
    "make_private",
    "make_read_only",
    "may_mount",
    "mount",
    "start_loopback",
    "tree_of",
]

MOUNTS, USERS, PROCESSES, NETWORK = 0x00020000, 0x10000000, 0x20000000, 0x40000000
"""Kinds of namespaces; they can be added up."""

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _MOVE_FROM_DESCRIPTOR = 1, 4
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_ATTR_RDONLY = 1
_MS_PRIVATE_BELOW = 0x4000 | (1 << 18)
_CAPABILITY_HEADER: Final = struct.pack("<Ii", 0x20080522, 0)
"""The interface's version, and this thread."""
_PR_CAPBSET_DROP = 24
_CAP_SYS_ADMIN = 21
_UNDOING = (16, 17, _CAP_SYS_ADMIN, 22)
"""CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_ADMIN, CAP_SYS_BOOT."""

_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40

_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("unshare", "setns", "syscall", "mount", "prctl", "capget", "capset"):
    getattr(_libc, _name)  # Looked up once, and not in each forked process.
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def leave_namespaces(kinds: int) -> None:
    """unshare(2): move this thread into new namespaces; of processes, its next children."""
    _check(_libc.unshare(kinds), "unshare")


def enter_namespaces(process: int, kinds: int) -> None:
    """setns(2): move this thread into namespaces of the process that a pidfd refers to; of processes, its next children."""
    _check(_libc.setns(process, kinds), "setns")


def tree_of(folder: Path, *, read_only: bool) -> int:
    """Return a descriptor of a mount that shows this folder, with the mounts below it, and is attached nowhere."""
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    tree = int(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(folder), flags))
    _check(tree, f"open_tree({folder})")
    if read_only:
        _set_read_only(tree, b"", _AT_EMPTY_PATH)
    return tree


def attach_tree(tree: int, place: Path) -> None:
    """Attach a mount of `tree_of` at a folder."""
    _check(
        _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(place), _MOVE_FROM_DESCRIPTOR),
        f"move_mount({place})",
    )


def make_read_only(place: Path) -> None:
    """Refuse all writes to files of this mount and of those below it; needs Linux 5.12."""
    _set_read_only(_AT_FDCWD, os.fsencode(place), 0)


def _set_read_only(folder: int, path: bytes, flags: int) -> None:
    attributes = _Attributes(_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    done = _libc.syscall(_MOUNT_SETATTR, folder, path, flags | _AT_RECURSIVE, ctypes.byref(attributes), size)
    _check(done, "mount_setattr")


def make_private() -> None:
    """Keep later mounts of this namespace from showing in others, and those of others from showing here."""
    _check(_libc.mount(b"none", b"/", None, _MS_PRIVATE_BELOW, None), "mount(MS_PRIVATE)")


def mount(kind: str, place: Path, options: str = "", *, source: str = "none") -> None:
    """mount(2) of a filesystem that is in memory only."""
    done = _libc.mount(source.encode(), os.fsencode(place), kind.encode(), 0, options.encode())
    _check(done, f"mount({kind}, {place})")


def start_loopback() -> None:
    """Bring up the loopback device of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN."""
    return bool(_capabilities()[0] >> _CAP_SYS_ADMIN & 1)


def drop_capabilities() -> None:
    """Give up for ever what would undo the sandbox, above all mounting; without root, every capability.

    capset(2), and PR_CAPBSET_DROP for the programs that are run.
    """
    lower = ~sum(1 << number for number in _UNDOING) if os.geteuid() == 0 else 0
    upper = 0xFFFFFFFF if os.geteuid() == 0 else 0
    for number in _UNDOING:
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    kept = (word & (lower if at < 3 else upper) for at, word in enumerate(_capabilities()))
    _check(_libc.capset(_CAPABILITY_HEADER, struct.pack("<6I", *kept)), "capset")


def _capabilities() -> tuple[int, ...]:
    """Those of this process: effective, permitted and inheritable ones, numbers below 32; then the same of the others."""
    held = ctypes.create_string_buffer(24)
    _check(_libc.capget(_CAPABILITY_HEADER, held), "capget")
    return struct.unpack("<6I", held.raw)


def _check(returned: int, call: str) -> None:
    if returned < 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")
