"""Contents travel without their zeros, and are compared with their digests where they arrive."""

from __future__ import annotations

import os
from pathlib import Path

from crashmatrix.scenarios.campaign.cluster.parcel import Parcel
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore


def test_contents_travel(tmp_path: Path) -> None:
    """A folder is laid out again from a parcel: what the receiver knows is not sent, and a changed piece is refused."""
    stores = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        stores.append(SnapshotStore(tmp_path / name))
    here, there = stores
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"abc")
    with open(root / "sparse", "wb") as file:
        os.truncate(file.fileno(), 2**26)
        os.pwrite(file.fileno(), b"x", 2**25)
    tree = here.capture(root)
    parcel = Parcel()
    parcel.pack([tree], here)
    assert sum(len(data) for _, pieces in parcel.contents.values() for _, data in pieces) < 2**20
    small = next(digest for digest, (size, _) in parcel.contents.items() if size == 3)
    whole = parcel.contents[small]
    parcel.contents[small] = (3, [(0, b"abd")])
    assert not parcel.unpack([tree], there)
    parcel.contents[small] = whole
    assert parcel.unpack([tree], there)
    there.restore(tree, tmp_path / "again")
    assert (tmp_path / "again" / "small").read_bytes() == b"abc"
    assert there.capture(tmp_path / "again").digest == tree.digest
    known = Parcel()
    known.pack([tree], here, tree.contents)
    assert not known.contents
