"""The segment that grows: zeros ahead of its records, cut off when it is closed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.segments.segment import SegmentEncoder, SegmentHeader
from tests.reference_wal.log.logs import closing, create, fill, ids, names, reopen
from tests.reference_wal.support import SCHEMA, batch, open_files


def test_a_segment_is_filled_ahead_and_cut_when_closed(tmp_path: Path) -> None:
    """The active segment is larger than its records, by zeros, never beyond its maximal size; a closed one ends with its last
    record; any Arrow reader opens both and finds the same rows.
    """
    folder = tmp_path / "t"
    folder.mkdir()
    log = SegmentedLog.create(folder, SCHEMA, table="t", segment_bytes_max=64 * 1024, preallocate_bytes=16 * 1024)
    sizes = set()
    with closing(log):
        for number in range(80):
            fill(log, 1)
            active = folder / "0-.arrows"
            sizes.add(active.stat().st_size)
            if number % 25 == 0:
                with active.open("rb") as file:
                    assert pa.ipc.open_stream(file).read_all().num_rows == number + 1
        assert 2 < len(sizes) < 10 and max(sizes) <= 64 * 1024
        log.rotate()
        data = (folder / "0-79.arrows").read_bytes()
        assert data[-8:] != bytes(8) or len(data) < max(sizes)
        assert pa.ipc.open_stream(data).read_all().num_rows == 80
    assert ids(reopen(log)) == list(range(80))


@pytest.mark.parametrize("preallocate_bytes", [0, 100, 4096, 1 << 20])
@pytest.mark.parametrize("rows", [1, 5000])
def test_any_amount_of_zeros(preallocate_bytes: int, rows: int, tmp_path: Path) -> None:
    """Small and large batches come back, before and after a restart, however far ahead zeros are written."""
    folder = tmp_path / "t"
    folder.mkdir()
    log = SegmentedLog.create(
        folder, SCHEMA, table="t", segment_bytes_max=256 * 1024, preallocate_bytes=preallocate_bytes
    )
    for number in range(5):
        assert log.append(batch(*range(rows))) == number
    found = [(batch_id, batch_.num_rows) for batch_id, batch_ in log.unpersisted()]
    log = reopen(log)
    assert [(batch_id, batch_.num_rows) for batch_id, batch_ in log.unpersisted()] == found
    assert found == [(number, rows) for number in range(5)]
    log.close()


@pytest.mark.parametrize(
    "point", ["wal.rotate.before_truncate", "wal.rotate.after_truncate", "wal.rotate.before_sync_cut"]
)
def test_a_cut_that_fails_poisons(point: str, tmp_path: Path) -> None:
    """A segment whose zeros could not be cut off durably is not named closed; reopening finishes the job."""
    with closing(create(tmp_path)) as log:
        fill(log, 3)
        log.segment_bytes_max = 1
        with faults.scenario(f"{point}=raise(EIO)"), pytest.raises(AppendFailed):
            log.append(batch(3.0))
        assert names(log) == ["0-.arrows"]
    log = reopen(log)
    assert ids(log) == [0, 1, 2] and names(log) == ["0-2.arrows", "3-.arrows"]
    log.close()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=repr)
def test_a_close_that_fails(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error of close(2), or an interrupt right after it, the number may be another file's: it is left alone."""
    close, closed, other = os.close, list[int](), os.open(os.devnull, os.O_WRONLY)

    def close_and_raise(fd: int) -> None:
        close(fd)
        closed.append(fd)
        raise error

    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    segment = ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=0)
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(os, "close", close_and_raise)
        segment.close()
    os.dup2(other, closed[0])
    segment.close()
    os.write(closed[0], b"still open")
    assert not segment.is_open
    os.close(closed[0])
    os.close(other)


@pytest.mark.parametrize(("size", "zeros", "left"), [(25, 100, 100), (26, 100, 0), (1, 3, 0), (1, 4, 4), (10, 0, 0)])
def test_zeros_behind_a_group(size: int, zeros: int, left: int, tmp_path: Path) -> None:
    """A group that outgrows the zeros brings new ones, unless it is larger than a quarter of them; one that fits brings none."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    segment, written = ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=10), encoder.header_bytes
    groups = [
        ([b"a" * 4, b"b" * 6], 0),
        ([b"c" * size], left),
        ([b"d" * left], 0),
        ([b"e"], zeros if zeros >= 4 else 0),
    ]
    for parts, zeros_left in groups:
        segment.write(parts, zeros_bytes=zeros)
        written += b"".join(parts)
        assert segment.end_bytes == len(written)
        assert (tmp_path / "0-.arrows").read_bytes() == written + bytes(zeros_left)
    segment.finish(5)
    assert (tmp_path / "0-5.arrows").read_bytes() == written


@pytest.mark.parametrize("left", [0, 1, 2])
def test_few_zeros_are_cut_off(left: int, tmp_path: Path) -> None:
    """A closed segment ends with its last record, however few zeros were left behind it."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    segment = ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=10 + left)
    segment.write([b"a" * 10], zeros_bytes=0)
    segment.finish(0)
    assert (tmp_path / "0-0.arrows").read_bytes() == encoder.header_bytes + b"a" * 10


def test_how_long_the_sync_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write returns the seconds of its sync, and not those of anything else."""
    now = [0.0]

    def taking(seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any) -> Any:
            now[0] += seconds
            return call(*given)

        return made

    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    segment = ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", taking(16, os.pwritev))
        patch.setattr(os, "fdatasync", taking(2, os.fdatasync))
        patch.setattr(time, "perf_counter", lambda: now[0])
        assert segment.write([b"x"], zeros_bytes=0) == 2
    segment.close()


def test_any_number_may_be_the_files(tmp_path: Path) -> None:
    """A process that has closed its standard input gets the number 0 for a segment: it is open, and let go of."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    before = os.dup(0)
    os.close(0)
    try:
        segment = ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=0)
        assert segment.is_open and os.fstat(0).st_ino == (tmp_path / "0-.arrows").stat().st_ino
        segment.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_file_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of fstat(2) is reported, whether the segment is made or gone on with, and no file stays open."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = open_files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        with pytest.raises(OSError, match="output"):
            ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=0)
        with pytest.raises(OSError, match="output"):
            ActiveSegment.resume(tmp_path / "0-.arrows", encoder.form, len(encoder.header_bytes))
    assert open_files(tmp_path) == before


def test_a_file_left_by_an_earlier_attempt(tmp_path: Path) -> None:
    """Nothing of it is in the new segment."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("mine", "t", 0))
    (tmp_path / "0-.tmp").write_bytes(b"x" * 100_000)
    ActiveSegment.create(tmp_path, 0, encoder, zeros_bytes=100).close()
    assert (tmp_path / "0-.arrows").read_bytes() == encoder.header_bytes + bytes(100)
