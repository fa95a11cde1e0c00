"""Sets of persisted batches: any set, kept through restarts and crashes, and segments that go when all of theirs are in."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import InvalidInput, LogPoisoned, WriteAheadLog
from crashmatrix.reference_wal.log.persisted import PERSISTED, IdSet, read_persisted, write_persisted
from tests.reference_wal.support import SCHEMA, batch


def opened(root: Path) -> WriteAheadLog:
    """A log in which every batch has a segment of two."""
    wal = WriteAheadLog(root, segment_bytes_max=2200)
    if not wal.tables:
        wal.create_table_log("t", SCHEMA)
    return wal


def filled(root: Path, count: int = 8) -> WriteAheadLog:
    wal = opened(root)
    for number in range(count):
        wal.append("t", batch(float(number)))
    assert len(list((root / "t").glob("*.arrows"))) > count // 4
    return wal


def ids(wal: WriteAheadLog) -> list[int]:
    return [batch_id for batch_id, _ in wal.unpersisted("t")]


@pytest.mark.parametrize("seed", range(20))
def test_a_set_of_ranges_is_a_set(seed: int) -> None:
    """Any ranges, added in any order, give the same ids as Python's own set, in the fewest ranges."""
    chance = random.Random(seed)
    ranges, plain = IdSet(), set[int]()
    for _ in range(chance.randint(0, 12)):
        first = chance.randint(0, 40)
        last = first + chance.randint(-1, 6)
        ranges.add(first, last)
        plain |= set(range(first, last + 1))
    assert {i for i in range(60) if i in ranges} == plain
    assert ranges.ranges == sorted(ranges.ranges)
    assert all(before[1] + 1 < after[0] for before, after in zip(ranges.ranges, ranges.ranges[1:], strict=False))
    for first in range(0, 50, 7):
        missing = [i for a, b in ranges.missing(first, first + 11) for i in range(a, b + 1)]
        assert missing == [i for i in range(first, first + 12) if i not in plain]
        assert ranges.covers(first, first + 11) == (not missing)


@pytest.mark.parametrize("ids", [range(3, 7), range(1, 8, 2), range(0, 12, 4), range(9, 2, -3), range(0), [5, 1, 5, 2]])
def test_any_ids_can_be_added(ids: Iterable[int]) -> None:
    """A range with gaps is not taken for a whole one."""
    found = IdSet([(20, 21)])
    found.update(ids)
    assert [i for i in range(-1, 30) if i in found] == sorted({*ids, 20, 21})


@pytest.mark.parametrize("text", ["none", "0-0", "0-57,60-61,100-100"])
def test_round_trip(text: str, tmp_path: Path) -> None:
    """The set comes back as it was written, for the log that wrote it."""
    ranges = [] if text == "none" else [tuple(map(int, part.split("-"))) for part in text.split(",")]
    ids = IdSet((first, last) for first, last in ranges)
    assert ids.span == ((ranges[0][0], ranges[-1][1]) if ranges else (0, -1))
    write_persisted(tmp_path, "mine", ids)
    assert read_persisted(tmp_path, "mine").ranges == ranges
    assert (tmp_path / PERSISTED).read_text().startswith(f"{text} ")


def test_any_set_survives_restarts(tmp_path: Path) -> None:
    """Batches marked one by one, in no order, stay marked; a segment goes once all of its batches are."""
    order = list(range(8))
    random.Random(1).shuffle(order)
    filled(tmp_path).close()
    for number, batch_id in enumerate(order, 1):
        wal = opened(tmp_path)
        wal.mark_persisted("t", iter([batch_id]))
        assert ids(wal) == sorted(order[number:])
        wal.close()
    wal = opened(tmp_path)
    assert ids(wal) == [] and wal.append("t", batch(8.0)) == 8
    assert wal.log("t").oldest_id == 8 and wal.log("t").persisted == [(0, 7)]
    wal.close()


def test_truncation_survives(tmp_path: Path) -> None:
    """After a truncation no batch comes back, even if segments do."""
    wal = filled(tmp_path)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "t").glob("*-?.arrows")}
    wal.truncate("t")
    wal.close()
    for name, data in kept.items():
        (tmp_path / "t" / name).write_bytes(data)  # as a power cut may leave them, the unlinks not being durable
    wal = opened(tmp_path)
    assert ids(wal) == [] and wal.log("t").next_id == 8
    assert len(list((tmp_path / "t").glob("*.arrows"))) == 1
    wal.close()


def test_marking_twice_writes_once(tmp_path: Path) -> None:
    """Marking batches that are marked already writes nothing."""
    wal = filled(tmp_path)
    wal.mark_persisted("t", [1, 5])
    before = faults.hits("wal.persist.after_sync")
    wal.mark_persisted("t", [5])
    wal.mark_persisted("t", [])
    assert faults.hits("wal.persist.after_sync") == before
    wal.close()


STEPS = [
    f"wal.persist.{side}_{verb}" for verb in ("write", "sync", "rename", "sync_folder") for side in ("before", "after")
]
RETIRE = ["wal.retire.before_unlink", "wal.retire.after_unlink", "wal.retire.before_sync", "wal.retire.after_sync"]


@pytest.mark.parametrize("point", [*STEPS, *RETIRE])
@pytest.mark.parametrize("fault", ["panic", "raise(EIO)"])
def test_marking_cut_short(point: str, fault: str, tmp_path: Path) -> None:
    """Marking that stops at any step leaves the old set or the new one, and no batch of neither set is lost."""
    wal = filled(tmp_path)
    wal.mark_persisted("t", [0])
    with faults.scenario(f"{point}={fault}"), pytest.raises((faults.Panic, OSError)):
        wal.mark_persisted("t", [1, 2, 3, 6])
    with pytest.raises(LogPoisoned):
        wal.append("t", batch(9.0))
    wal.close()
    wal = opened(tmp_path)
    old, new = [1, 2, 3, 4, 5, 6, 7], [4, 5, 7]
    assert ids(wal) == (old if STEPS.index(point) < 5 else new) if point in STEPS else ids(wal) == new
    assert not list((tmp_path / "t").glob("*.tmp"))
    assert wal.append("t", batch(8.0)) == 8
    wal.close()


def test_a_set_that_cannot_be_read(tmp_path: Path) -> None:
    """It is not an empty one."""
    (tmp_path / PERSISTED).mkdir()
    with pytest.raises(IsADirectoryError):
        read_persisted(tmp_path, "identity")


@pytest.mark.parametrize("unknown", [[8], [-1], [0, 99]])
def test_ids_never_given_out(unknown: list[int], tmp_path: Path) -> None:
    """Marking an id that was never given out is refused, and nothing is written."""
    wal = filled(tmp_path)
    with pytest.raises(InvalidInput, match="never appended"):
        wal.mark_persisted("t", unknown)
    assert not (tmp_path / "t" / PERSISTED).exists()
    assert ids(wal) == list(range(8))
    wal.close()
