"""Contents travel without their zeros, and are compared with their digests where they arrive."""

from __future__ import annotations

import os
import pickle
import random
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
    assert sum(map(len, parcel.pages)) < 2**20
    wrong = Parcel(parcel.contents, {page.replace(b"abc", b"abd"): number for page, number in parcel.pages.items()})
    assert not wrong.unpack([tree], there)
    assert pickle.loads(pickle.dumps(parcel)).unpack([tree], there)
    there.restore(tree, tmp_path / "again")
    assert (tmp_path / "again" / "small").read_bytes() == b"abc"
    assert there.capture(tmp_path / "again").digest == tree.digest
    known = Parcel()
    known.pack([tree], here, tree.contents)
    assert not known.contents


def test_equal_pages_travel_once(tmp_path: Path) -> None:
    """A file that grows, and one that changes in a page, in many states."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there, root := tmp_path / "root"):
        folder.mkdir()
    store, other = SnapshotStore(here), SnapshotStore(there)
    chance, trees = random.Random(0), []
    for length in range(1, 30):
        (root / "log").write_bytes(random.Random(1).randbytes(length * 5_000))
        with open(root / "data", "wb") as file:
            file.write(random.Random(2).randbytes(200_000))
            file.seek(chance.randrange(200_000))
            file.write(chance.randbytes(9))
        trees.append(store.capture(root))
    parcel = Parcel()
    parcel.pack(trees, store)
    assert len(parcel.contents) == 58
    assert sum(map(len, parcel.pages)) < 29 * 2 * 4096 + 150_000 + 200_000 + 29 * 2 * 4096
    assert parcel.unpack(trees, other)
    for number, tree in enumerate(trees):
        other.restore(tree, tmp_path / str(number))
        assert other.capture(tmp_path / str(number)).digest == tree.digest
