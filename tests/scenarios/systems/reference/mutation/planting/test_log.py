"""Bugs of the log, planted by hand: each does what its row says, and only that."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.log.persisted import IdSet, read_persisted, write_persisted
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.segments.seal import BLANK, SealForm
from crashmatrix.reference_wal.log.segments.segment import SegmentEncoder, SegmentHeader, SegmentName
from crashmatrix.scenarios.systems.reference.mutation.planting import log

ENCODER = SegmentEncoder(pa.schema([("x", pa.int64())]), SegmentHeader("log", "t", 0))


def test_a_set_over_the_old_one(tmp_path: Path) -> None:
    """The set is readable afterwards, and the file is the same one, overwritten."""
    write_persisted(tmp_path, "log", IdSet([(0, 99)]))
    before = (tmp_path / "persisted").stat().st_ino
    log.set_in_place(None)(tmp_path, "log", IdSet([(0, 3), (7, 7)]))
    assert read_persisted(tmp_path, "log").ranges == [(0, 3), (7, 7)]
    assert (tmp_path / "persisted").stat().st_ino == before


def test_retired_before_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is gone when the set is written."""
    monkeypatch.setattr(Retention, "mark", log.retired_first(Retention.mark))
    (tmp_path / "0-1.arrows").touch()
    there: list[bool] = []
    monkeypatch.setattr(
        "crashmatrix.reference_wal.log.persisted.write_persisted",
        lambda folder, *_: there.append((folder / "0-1.arrows").exists()),
    )
    Retention(tmp_path, [SegmentName(0, 1)]).mark([0, 1], next_id=5, remember_as="log", retire=True)
    assert there == [False]


def test_a_seal_that_claims_too_much() -> None:
    """Each seal says that everything before it was durable."""
    form = SealForm.of(BLANK)
    assert form is not None
    data = log.durable_by_hearsay(SealForm.write)(form, 3, 500, 100, b"message")
    seal = form.read(data, 500)
    assert seal is not None and (seal.id, seal.synced) == (3, 500)


def test_zeros_left_in_a_closed_segment(tmp_path: Path) -> None:
    """The closed segment is as long as the active one was."""
    finish = log.uncut(ActiveSegment.finish)
    segment = ActiveSegment.create(tmp_path, 0, ENCODER, zeros_bytes=4096)
    size = (tmp_path / "0-.arrows").stat().st_size
    assert size > segment.end_bytes
    assert str(finish(segment, 0)) == "0-0.arrows"
    assert (tmp_path / "0-0.arrows").stat().st_size == size


def test_a_name_before_the_header(tmp_path: Path) -> None:
    """The final name is there, empty, before the segment is written."""
    there: list[int] = []

    def create(folder: Path, start: int) -> None:
        there.append((folder / f"{start}-.arrows").stat().st_size)

    log.named_at_once(create)(tmp_path, 4)
    assert there == [0]
