"""A mounted crash image, read."""

from __future__ import annotations

import errno
from pathlib import Path

from crashmatrix.faults.disk import MountRefused
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree

__all__ = ["snapshot_of"]


def snapshot_of(store: SnapshotStore, root: Path) -> Tree:
    """Take a snapshot of a mounted folder. Raises MountRefused: the filesystem cannot read it, which is as good as no mount."""
    try:
        return store.capture(root)
    except OSError as error:
        place = str(error.filename or "ROOT").replace(str(root), "ROOT")
        raise MountRefused(f"reading {place} once mounted", error.errno or errno.EIO, "none: it is lost") from error
