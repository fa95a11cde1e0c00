"""deltalake without a sync, as a system under test: items come back whole, part of an item is a finding."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.delta_files import delta_files
from crashmatrix.scenarios.systems.deltalake_plain import PlainDeltaLake
from crashmatrix.scenarios.systems.values import ITEMS
from crashmatrix.scenarios.target.journal import Journal


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    system = PlainDeltaLake()
    system.prepare(root)
    system.workload(root, Journal(tmp_path / "journal"))
    assert system.recover(root) == list(range(ITEMS))
    return root


def test_part_of_an_item(filled: Path) -> None:
    """A file that lost rows is corrupt, not an item less."""
    file = delta_files(filled / "table")[0]
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.slice(0, rows.num_rows - 1), file)
    with pytest.raises(PromiseBroken, match="has rows") as caught:
        PlainDeltaLake().recover(filled)
    assert caught.value.verdict == "corrupt"


def test_one_fingerprint(filled: Path, tmp_path: Path) -> None:
    """Random names of data files do not count, commits do."""
    system = PlainDeltaLake()
    before = system.fingerprint(filled)
    again = tmp_path / "again"
    again.mkdir()
    system.prepare(again)
    assert system.fingerprint(again) != before
    system.workload(again, Journal(tmp_path / "second"))
    assert system.fingerprint(again) == before
