"""The target of tables by models: undisturbed it keeps its promise; a value beyond its bound is noticed."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.models import segments
from crashmatrix.reference_wal.models.bound import Bound, absolute
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.models import TABLES, UNEVEN, ModelsEngine, batch_of, batches_within
from crashmatrix.scenarios.target.journal import Journal


def test_undisturbed(tmp_path: Path) -> None:
    """Every batch of every table comes back once, also after a second life."""
    root = tmp_path / "root"
    root.mkdir()
    system = ModelsEngine()
    system.workspace = tmp_path
    system.prepare(root)
    system.workload(root, Journal(tmp_path / "journal"))
    assert system.recover(root) == [[table, number] for table in TABLES for number in range(4)]
    system.resume(root, Journal(tmp_path / "later"))
    assert system.recover(root) == [[table, number] for table in TABLES for number in range(6)]


def test_what_is_within() -> None:
    """Values beyond the bound, rows of nobody, and parts of batches are broken promises; a batch twice is counted."""
    rows = pa.Table.from_batches([batch_of(1)])
    off = rows.set_column(2, rows.schema.field(2), pa.array([value + 1.0 for value in rows["temperature"].to_pylist()]))
    near = replace(TABLES["near"], bounds={"temperature": absolute(1.0)})
    assert batches_within(pa.concat_tables([rows, off]), near, "t") == [1, 1]
    with pytest.raises(PromiseBroken, match="beyond"):
        batches_within(off, TABLES["exact"], "t")
    with pytest.raises(PromiseBroken, match="in part"):
        batches_within(rows.slice(1), near, "t")
    with pytest.raises(PromiseBroken, match="another schema"):
        batches_within(rows, TABLES[UNEVEN], "t")


def test_floats_that_round_beyond_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is within the bound, and whose values of four bytes are not, is noticed."""
    monkeypatch.setattr(segments, "_rounding", lambda _: float)
    system = ModelsEngine()
    system.workspace = tmp_path
    system.prepare(tmp_path / "root")
    system.workload(tmp_path / "root", Journal(tmp_path / "journal"))
    with pytest.raises(PromiseBroken, match=f"{UNEVEN}: .* beyond"):
        system.recover(tmp_path / "root")


def test_shares_that_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes an infinite share of a value for how far another may be from it is noticed, by another computation."""

    def allowance(bound: Bound, stored: float) -> float:
        if bound.kind == "lossless" or not math.isfinite(stored):
            return 0.0
        return bound.size if bound.kind == "absolute" else abs(stored) * bound.size / 100

    def holds(bound: Bound, stored: float, found: float) -> bool:
        if struct.pack("<d", stored) == struct.pack("<d", found):
            return True
        return allowance(bound, stored) > 0 and abs(found - stored) <= allowance(bound, stored)

    monkeypatch.setattr(Bound, "allowance", allowance)
    monkeypatch.setattr(Bound, "holds", holds)
    system = ModelsEngine()
    system.workspace = tmp_path
    system.prepare(tmp_path / "root")
    system.workload(tmp_path / "root", Journal(tmp_path / "journal"))
    with pytest.raises(PromiseBroken, match=f"{UNEVEN}: .* beyond"):
        system.recover(tmp_path / "root")
