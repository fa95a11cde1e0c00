"""Reading a log back while it lives: segments are closed and retired meanwhile, damage is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from crashmatrix.reference_wal import LogCorrupted
from crashmatrix.reference_wal.log.replay import SegmentGone, replay_segment
from tests.reference_wal.support import batch, encode, flipped, numbers


def write(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)


def found(folder: Path, start: int, end_bytes: int | None = None) -> list[tuple[int, list[float]]]:
    return [(record.id, numbers(record.batch)) for record in replay_segment(folder, start, end_bytes)]


@pytest.mark.parametrize("name", ["4-.arrows", "4-6.arrows"])
def test_by_its_first_id(name: str, tmp_path: Path) -> None:
    """A segment is found by its first id, open or closed."""
    write(tmp_path, name, encode([batch(4.0), batch(5.0), batch(6.0)], start=4)[0])
    write(tmp_path, "40-.arrows", encode([batch(40.0)], start=40)[0])
    assert found(tmp_path, 4) == [(4, [4.0]), (5, [5.0]), (6, [6.0])]
    (tmp_path / name).unlink()
    with pytest.raises(SegmentGone):
        found(tmp_path, 4)


@pytest.mark.parametrize("name", ["4-.tmp", "4-6.tmp", "4-6 (copy).arrows", "4-old.arrows", "4-6.arrows.bak", "4-"])
def test_a_file_with_a_like_name(name: str, tmp_path: Path) -> None:
    """A file that is not a segment by its name is neither read in the place of one nor taken for one, whatever it holds."""
    write(tmp_path, name, encode([batch(0.0)], start=4)[0])
    with pytest.raises(SegmentGone):
        found(tmp_path, 4)
    write(tmp_path, "4-6.arrows", encode([batch(4.0), batch(5.0), batch(6.0)], start=4)[0])
    assert found(tmp_path, 4) == [(4, [4.0]), (5, [5.0]), (6, [6.0])]


@pytest.mark.parametrize("records", range(4))
def test_up_to_a_position(records: int, tmp_path: Path) -> None:
    """Only what was durable when the replay began is looked at, whatever comes after it."""
    data, bounds = encode([batch(0.0), batch(1.0), batch(2.0)])
    write(tmp_path, "0-.arrows", data[: bounds[records]] + b"half a record")
    assert [batch_id for batch_id, _ in found(tmp_path, 0, bounds[records])] == list(range(records))


def test_renamed_while_it_is_read(tmp_path: Path) -> None:
    """A segment closed under its final name, or unlinked, is read to its end by a replay that began before."""
    write(tmp_path, "0-.arrows", encode([batch(0.0), batch(1.0)])[0])
    reading = replay_segment(tmp_path, 0, None)
    assert next(reading).id == 0
    (tmp_path / "0-.arrows").rename(tmp_path / "0-1.arrows")
    (tmp_path / "0-1.arrows").unlink()
    assert [record.id for record in reading] == [1]
    with pytest.raises(SegmentGone):
        found(tmp_path, 0)


def test_renamed_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that is closed between the look at its folder and its opening is found under its new name."""
    write(tmp_path, "0-.arrows", encode([batch(0.0), batch(1.0)])[0])
    listdir = os.listdir

    def list_and_close(folder: Path) -> list[str]:
        listed = listdir(folder)
        if "0-.arrows" in listed:
            (tmp_path / "0-.arrows").rename(tmp_path / "0-1.arrows")
        return listed

    monkeypatch.setattr(os, "listdir", list_and_close)
    assert found(tmp_path, 0) == [(0, [0.0]), (1, [1.0])]


@pytest.mark.timeout(20)
def test_listed_and_not_opened(tmp_path: Path) -> None:
    """A name that cannot be opened, as on a disk that fails, is an error. The search does not go on for ever."""
    (tmp_path / "0-.arrows").symlink_to("nothing")
    with pytest.raises(OSError, match=r"cannot be opened: '.*0-\.arrows'") as caught:
        found(tmp_path, 0)
    assert caught.value.errno == errno.EIO


def test_not_opened_for_another_reason(tmp_path: Path) -> None:
    """The error is the system's own, not one about a disk that fails."""
    (tmp_path / "0-.arrows").symlink_to("0-.arrows")
    with pytest.raises(OSError, match=r"0-\.arrows") as caught:
        found(tmp_path, 0)
    assert caught.value.errno == errno.ELOOP


def test_damage_is_refused(tmp_path: Path) -> None:
    """A changed record is named with its place; the records before it are given out."""
    data, bounds = encode([batch(0.0), batch(1.0), batch(2.0)])
    write(tmp_path, "0-2.arrows", flipped(data, (bounds[1] + bounds[2]) // 2))
    reading = replay_segment(tmp_path, 0, None)
    assert next(reading).id == 0
    with pytest.raises(LogCorrupted) as caught:
        next(reading)
    assert (caught.value.offset, caught.value.record, caught.value.path.name) == (bounds[1], 1, "0-2.arrows")


@pytest.mark.parametrize("length", [0, 10])
def test_a_header_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    """A segment without its header is not read."""
    write(tmp_path, "0-2.arrows", encode([batch(0.0)])[0][:length])
    with pytest.raises(LogCorrupted, match="header is damaged"):
        found(tmp_path, 0)
