"""Metadata of xfs and btrfs, recognised by the magic numbers in its blocks; whose metadata it is, is not known.

Sources: the XFS Algorithms & Data Structures guide; https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html
"""

import struct
from collections.abc import Callable

from crashmatrix.faults.disk.block.base import BLOCK
from crashmatrix.faults.disk.trace.named import JOURNAL, METADATA, UNKNOWN, Named

__all__ = ["named_by_magic"]

_XFS = {b"XFSB", b"XAGF", b"XAGI", b"XAFL", b"AB3B", b"AB3C", b"IAB3", b"FIB3", b"RMB3", b"BMA3"}
_BTRFS_SUPERBLOCK = 65536 // BLOCK


def named_by_magic(kind: str, base: Callable[[int], bytes], block: int, data: bytes) -> Named:
    """Name a block that no file has; ``base`` gives the disk's blocks as mkfs left them."""
    if kind == "xfs":
        head = base(0)
        blocksize, log_start, log_blocks = (
            struct.unpack_from(form, head, at)[0] for form, at in ((">I", 4), (">Q", 48), (">I", 96))
        )
        ag_blocks, ag_log = struct.unpack_from(">I", head, 84)[0], head[124]
        first = (log_start >> ag_log) * ag_blocks + (log_start & (1 << ag_log) - 1)
        if blocksize == BLOCK and first <= block < first + log_blocks:
            return Named(kind=JOURNAL, what="its log")
        if data[:2] == b"IN":
            return Named(kind=METADATA, what="inodes")
        if data[:4] in (b"XDB3", b"XDD3", b"XDF3"):
            return Named(kind=METADATA, what="a directory's names")
        if data[:4] in _XFS:
            return Named(kind=METADATA)
    if kind == "btrfs":
        identity = base(_BTRFS_SUPERBLOCK)[32:48]
        if block == _BTRFS_SUPERBLOCK:
            return Named(kind=METADATA, what="superblock")
        if data[32:48] == identity:
            return Named(kind=METADATA)
    return Named(kind=UNKNOWN)
