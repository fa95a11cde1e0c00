"""A place for mounts and scratch files that the kernel removes when the process dies, however it dies.

The calling thread moves into a mount namespace of its own, and a tmpfs is mounted there over an empty directory. No other
process sees either. When the last process in the namespace is gone, the kernel unmounts everything in it,
which frees the files and, through autoclear, the loop devices. So nothing is left to clean up after a SIGKILL.

Invariants: the namespace belongs to one process (the tmpfs is named after its pid), and a forked child that wants one
makes its own and first detaches the mounts it inherited; otherwise it would keep its parent's filesystems mounted.
"""

import contextlib
import os
from pathlib import Path

from crashmatrix.faults.disk.errors import SystemCallFailed
from crashmatrix.faults.disk.linux.kernel import make_propagation_private, mount, unmount, unshare_mounts

__all__ = ["enter_private_namespace"]

_SOURCE = "crashmatrix-"
# Directories that every Linux has and most leave empty. The last is a mount point, and exists wherever FUSE does.
_CANDIDATES = ("/media", "/mnt", "/srv", "/sys/fs/fuse/connections")


def enter_private_namespace() -> Path:
    """Move the calling thread permanently into its own mount namespace; return a scratch directory that dies with it.

    Calling again in the same process returns the same directory. Other threads of the process stay outside, so
    call it from the thread that does the work. Raises SystemCallFailed (root is needed).
    """
    mine = f"{_SOURCE}{os.getpid()}"
    mounted = _our_mounts()
    if mine in mounted:
        return mounted[mine]
    unshare_mounts()
    make_propagation_private()
    for inherited in mounted.values():
        with contextlib.suppress(SystemCallFailed):
            unmount(inherited, detach=True)
    scratch = _empty_directory()
    mount(mine, scratch, "tmpfs", options="mode=0755")
    return scratch


def _our_mounts() -> dict[str, Path]:
    found = {}
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        fields, _, details = line.partition(" - ")
        kind, source, *_ = details.split(" ")
        if kind == "tmpfs" and source.startswith(_SOURCE):
            found[source] = Path(fields.split(" ")[4])
    return found


def _empty_directory() -> Path:
    for candidate in _CANDIDATES:
        with contextlib.suppress(OSError):
            if not any(Path(candidate).iterdir()):
                return Path(candidate).resolve()
    # Covering it hides the names of FUSE connections from this process alone, which nothing here reads.
    return Path(_CANDIDATES[-1])
