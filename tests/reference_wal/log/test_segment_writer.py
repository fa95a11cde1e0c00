"""The writing end of a log: which segment the next record goes to, and how far it is filled ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reference_wal.log.segment_writer import LogIdentity, SegmentSizes, SegmentWriter
from crashmatrix.reference_wal.log.segments.segment import Codec, open_segment, read_opening
from tests.reference_wal.support import SCHEMA, batch

ZEROS = [
    (0, 100, 1000, 100),
    (950, 100, 1000, 50),
    (1000, 100, 1000, 0),
    (5000, 100, 1000, 0),
    (10, 0, 1000, 0),
]


@pytest.mark.parametrize(("end", "preallocate", "maximum", "zeros"), ZEROS)
def test_zeros_ahead(end: int, preallocate: int, maximum: int, zeros: int) -> None:
    """A segment is filled ahead as far as configured, never beyond its maximal size."""
    sizes = SegmentSizes(segment_bytes_max=maximum, preallocate_bytes=preallocate)
    assert sizes.zeros_bytes(end) == zeros


@pytest.fixture
def writer(tmp_path: Path) -> SegmentWriter:
    log = LogIdentity(tmp_path, SCHEMA, "log", "t")
    return SegmentWriter.create(log, SegmentSizes(segment_bytes_max=1 << 20, preallocate_bytes=0), 7)


def write(writer: SegmentWriter, count: int) -> None:
    codec = Codec(SCHEMA)
    writer.write([codec.encode(batch(float(number))) for number in range(count)])


def test_ids_and_sizes(writer: SegmentWriter, tmp_path: Path) -> None:
    """A group takes as many ids as it has records; the counters add up to the file."""
    before = writer.active.end_bytes
    write(writer, 3)
    write(writer, 1)
    assert (writer.start_id, writer.next_id, writer.appends, writer.syncs) == (7, 11, 4, 2)
    assert writer.bytes == writer.active.end_bytes - before == (tmp_path / "7-.arrows").stat().st_size - before
    writer.close()
    assert not writer.is_open


def test_full(writer: SegmentWriter, tmp_path: Path) -> None:
    """A segment is full once it has reached its size, but never without a record; the next one has all the room."""
    writer.sizes = replace(writer.sizes, segment_bytes_max=1)
    assert (writer.is_full, writer.is_empty) == (False, True)
    write(writer, 1)
    assert (writer.is_full, writer.is_empty) == (True, False)
    assert writer.room_bytes == 1
    assert str(writer.finish()) == "7-7.arrows"
    assert (writer.is_open, writer.is_empty) == (False, True)
    writer.start()
    assert (writer.start_id, writer.next_id, writer.rotations) == (8, 8, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7-7.arrows", "8-.arrows"]
    writer.close()


def test_room(writer: SegmentWriter, tmp_path: Path) -> None:
    """The room is what the segment's file may still grow by."""
    writer.sizes = replace(writer.sizes, segment_bytes_max=4000)
    for _ in range(3):
        assert writer.room_bytes == 4000 - (tmp_path / "7-.arrows").stat().st_size
        write(writer, 1)
    writer.close()


def test_resumed(writer: SegmentWriter, tmp_path: Path) -> None:
    """A segment without a record is gone on with, as the log that its header names."""
    writer.close()
    path = tmp_path / "7-.arrows"
    with open_segment(path) as file:
        opening = read_opening(file)
    assert opening is not None
    again = SegmentWriter.resume(path, opening, writer.sizes)
    assert (again.log, again.next_id) == (writer.log, 7)
    write(again, 2)
    assert again.next_id == 9 and path.stat().st_size == again.active.end_bytes
    again.close()
