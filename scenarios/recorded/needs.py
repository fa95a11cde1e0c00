"""The needs of a recording: root, FUSE, loop devices, and the tools of its filesystem."""

from __future__ import annotations

from collections.abc import Iterable

from crashmatrix.faults.disk import requirements

__all__ = ["lacking"]


def lacking(filesystems: Iterable[str]) -> str:
    """Return what this machine lacks for recordings on these filesystems, with the remedy; empty if nothing."""
    names = tuple(name.partition(":")[0] for name in filesystems)
    return "; ".join(f"{missing.what}: {missing.cause}; {missing.remedy}" for missing in requirements(names))
