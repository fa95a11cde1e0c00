"""The calls on ModelarDB's tables, undisturbed and killed: each flaw by itself breaks a promise, none without."""

from __future__ import annotations

from pathlib import Path

from crashmatrix.scenarios.systems.modelardb.tables import Tables
from crashmatrix.scenarios.target.journal import Journal


def test_undisturbed(tmp_path: Path) -> None:
    """Undisturbed, the fixed server keeps its promises; a second life stores more."""
    (tmp_path / "root").mkdir()
    system = Tables()
    system.workload(tmp_path / "root", Journal(tmp_path / "journal"))
    found = system.recover(tmp_path / "root")
    assert ["table"] in found and [item for item in found if item[0] == "sent"]
    system.resume(tmp_path / "root", Journal(tmp_path / "later"))
    assert len(system.recover(tmp_path / "root")) == len(found) + 4
