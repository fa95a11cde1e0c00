"""LMDB as a system under test: what it stores comes back, and another value is a finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.values import ITEMS
from crashmatrix.scenarios.target.journal import Journal


def test_other_values(tmp_path: Path) -> None:
    """Every item comes back; one whose value changed is corrupt, one that is gone is left to the contract."""
    lmdb = pytest.importorskip("lmdb")
    from crashmatrix.scenarios.systems.lmdb import LMDB  # Here: it imports the package.

    root = tmp_path / "root"
    root.mkdir()
    system = LMDB(sync=False)
    system.prepare(root)
    system.workload(root, Journal(tmp_path / "journal"))
    assert system.recover(root) == list(range(ITEMS))
    with lmdb.open(str(root / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"0007")
    assert system.recover(root) == [number for number in range(ITEMS) if number != 7]
    with lmdb.open(str(root / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"0003", b"other")
    with pytest.raises(PromiseBroken) as caught:
        system.recover(root)
    assert caught.value.verdict == "corrupt"
