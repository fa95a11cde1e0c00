"""Commands read a target, experiments and filesystems in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import UsageError
from crashmatrix.scenarios.cli.arguments import experiments_of, filesystems_of, target_of

STORE = """
from crashmatrix import SystemUnderTest

class Store(SystemUnderTest):
    def workload(self, root, journal): ...
    def recover(self, root): ...
"""


def test_targets(tmp_path: Path) -> None:
    """A planted bug comes after the name; a file alone means the only system in it."""
    (tmp_path / "store.py").write_text(STORE)
    file = str(tmp_path / "store.py")
    assert target_of("reference") == {"target": "reference", "mutant": ""}
    assert target_of("reference-log+no-sync-set") == {"target": "reference-log", "mutant": "no-sync-set"}
    assert target_of(file)["target"] == target_of(f"{file}:Store")["target"] == f"{file}:Store"


def test_lists() -> None:
    """Names stand between commas; each counts once."""
    assert experiments_of(None) == filesystems_of(None) == ()
    for nothing in ("", ","):
        with pytest.raises(UsageError, match="names no experiment; name some of kill, power"):
            experiments_of(nothing)
        with pytest.raises(UsageError, match="names no filesystem; name some of ext4"):
            filesystems_of(nothing)
    assert experiments_of("power,kill,,power") == ("power", "kill")
    assert filesystems_of("xfs,ext4:commit=300,xfs") == ("xfs", "ext4:commit=300")
    with pytest.raises(UsageError, match="nosuch"):
        experiments_of("kill,nosuch")
    with pytest.raises(UsageError, match="nosuch"):
        filesystems_of("nosuch")
