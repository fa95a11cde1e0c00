"""A segment may go once every id in it is persisted. Missing ids that are not persisted are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import InvalidInput, LogCorrupted
from crashmatrix.reference_wal.log.persisted import IdSet, read_persisted
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segments.segment import SegmentName

CLOSED = [SegmentName(0, 1), SegmentName(2, 2), SegmentName(3, 5)]
ACTIVE, NEXT = 6, 8


def retention(folder: Path, closed: list[SegmentName] = CLOSED, persisted: IdSet | None = None) -> Retention:
    for name in closed:
        (folder / str(name)).touch()
    return Retention(folder, closed, persisted)


MARKS: list[tuple[list[int], list[str]]] = [
    ([], ["0-1", "2-2", "3-5"]),
    ([0], ["0-1", "2-2", "3-5"]),
    ([0, 1], ["2-2", "3-5"]),
    ([2], ["0-1", "3-5"]),
    ([3, 5], ["0-1", "2-2", "3-5"]),
    ([5, 4, 3, 2], ["0-1"]),
    ([6, 7], ["0-1", "2-2", "3-5"]),
    (list(range(8)), []),
]


@pytest.mark.parametrize(("ids", "left"), MARKS)
@pytest.mark.parametrize("retire", [True, False])
@pytest.mark.parametrize("remember_as", [None, "log"])
def test_mark(ids: list[int], left: list[str], retire: bool, remember_as: str | None, tmp_path: Path) -> None:
    """Segments go that hold persisted batches only; the set is on disk if it is to be remembered."""
    found = retention(tmp_path)
    found.mark(ids, next_id=NEXT, remember_as=remember_as, retire=retire)
    expected = left if retire else [f"{name.start}-{name.end}" for name in CLOSED]
    assert sorted(path.stem for path in tmp_path.glob("*.arrows")) == expected
    assert [str(name).removesuffix(".arrows") for name in found.closed] == expected
    assert found.retired == len(CLOSED) - len(expected)
    assert all(batch_id in found.persisted for batch_id in ids)
    assert read_persisted(tmp_path, "log").ranges == (found.persisted.ranges if remember_as else [])


def test_the_same_marks_again(tmp_path: Path) -> None:
    """Marks that are known already write nothing."""
    found = retention(tmp_path)
    found.mark([0, 2], next_id=NEXT, remember_as="log", retire=False)
    with faults.scenario("wal.persist.before_write=raise(EIO)"):
        for ids in ([2], [], [2, 0]):
            found.mark(ids, next_id=NEXT, remember_as="log", retire=False)
        with pytest.raises(OSError, match="output"):
            found.mark([1], next_id=NEXT, remember_as="log", retire=False)


@pytest.mark.parametrize("gone", range(3))
def test_a_segment_that_cannot_be_removed(gone: int, tmp_path: Path) -> None:
    """Segments go one after the other, oldest first: those that are gone by then count, and no other."""
    found = retention(tmp_path)
    with (
        faults.scenario(f"wal.retire.before_unlink={gone}*off->raise(EIO)"),
        pytest.raises(OSError),
    ):  # EIO has no class
        found.mark(range(6), next_id=NEXT, remember_as=None, retire=True)
    assert (found.retired, found.closed) == (gone, CLOSED[gone:])
    assert sorted(path.name for path in tmp_path.iterdir()) == [str(name) for name in CLOSED[gone:]]


@pytest.mark.parametrize("ids", [[8], [-1], [0, 1, 8], [0, 99], [-1, 3]])
def test_ids_never_given_out(ids: list[int], tmp_path: Path) -> None:
    """An id that no batch has is refused by its number, and nothing is changed."""
    found = retention(tmp_path)
    unknown = next(number for number in ids if not 0 <= number <= 7)
    with pytest.raises(InvalidInput, match=f"^batch {unknown} was never appended to this log; its ids go from 0 to 7$"):
        found.mark(ids, next_id=NEXT, remember_as="log", retire=True)
    assert (found.persisted.ranges, len(found.closed)) == ([], 3)
    assert len(list(tmp_path.iterdir())) == 3


GAPS: list[tuple[list[SegmentName], int, list[tuple[int, int]]]] = [
    (CLOSED, 6, []),
    ([], 0, []),
    ([], 6, [(0, 5)]),
    (CLOSED[1:], 6, [(0, 1)]),
    ([CLOSED[0], CLOSED[2]], 6, [(2, 2)]),
    (CLOSED[:1], 6, [(2, 5)]),
    ([CLOSED[1]], 9, [(0, 1), (3, 8)]),
]


@pytest.mark.parametrize(("closed", "active", "gaps"), GAPS)
def test_gaps(closed: list[SegmentName], active: int, gaps: list[tuple[int, int]], tmp_path: Path) -> None:
    """Ids in no segment are found, and accepted only if each is persisted, here or up to the caller's id."""
    found = retention(tmp_path, closed)
    assert list(found.gaps(active)) == gaps
    assert found.oldest_id(active) == (closed[0].start if closed else active)
    last = max((last for _, last in gaps), default=-1)
    found.refuse_gaps(active, last)
    if gaps:
        with pytest.raises(LogCorrupted, match=f"batches {gaps[0][0]} to {gaps[0][1]} are in no segment"):
            found.refuse_gaps(active, -1)
        with pytest.raises(LogCorrupted, match="are in no segment"):
            found.refuse_gaps(active, last - 1)
        remembered = retention(tmp_path, closed, IdSet(gaps))
        remembered.refuse_gaps(active, -1)


@pytest.mark.parametrize(("persisted", "through"), [(IdSet(), 6), (IdSet([(6, 6)]), -1)])
def test_persisted_beyond_the_end(persisted: IdSet, through: int, tmp_path: Path) -> None:
    """A batch that is persisted was given out; a log that ends before it has lost its end."""
    with pytest.raises(LogCorrupted, match="batch 6 was persisted, but the log ends at 5"):
        retention(tmp_path, CLOSED, persisted).refuse_gaps(6, through)


def test_batches_of_a_log_that_never_had_one(tmp_path: Path) -> None:
    """A log without a batch is not said to end at batch -1."""
    found = retention(tmp_path)
    with pytest.raises(LogCorrupted, match="batch 6 was persisted, but the log never had a batch"):
        found.refuse_gaps(0, 6)
    with pytest.raises(InvalidInput, match=r"^batch 6 was never appended to this log; it never had a batch$"):
        found.mark([6], next_id=0, remember_as=None, retire=False)
