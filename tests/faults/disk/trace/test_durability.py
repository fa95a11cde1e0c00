"""Durability: the changes that each sync makes durable, and the other changes that it takes along."""

import pytest

from crashmatrix.faults.disk import Data, Flush, Mark, Names, Note, Operation, Size, Sync, Write
from crashmatrix.faults.disk.trace.durability import Durability

ROOT, FOLDER, A, B = 2, 3, 4, 5
MADE, LINKED = Names(((ROOT, b"a", A),)), Names(((FOLDER, b"a", A),))
MOVED = Names(((ROOT, b"a", 0), (FOLDER, b"a", A)))
NEVER = -1
"""Stands for the trace's end in the table."""


@pytest.mark.parametrize(
    ("operations", "at"),
    [
        pytest.param([Write(0, b""), Flush(), Write(0, b"")], [1, 0, NEVER], id="a flush: every write before it"),
        pytest.param([Data(A, 0, b""), Flush()], [NEVER, 0], id="a flush: nothing of a tree"),
        pytest.param([Data(A, 0, b""), Size(A, 1), Sync(A)], [2, 2, 0], id="a file: data and size"),
        pytest.param([Data(A, 0, b""), Sync(B), Sync(A)], [2, 0, 0], id="another file: nothing"),
        pytest.param([Data(A, 0, b""), Sync(A), Sync(A)], [1, 0, 0], id="the first sync counts"),
        pytest.param([MADE, Data(A, 0, b""), Sync(A)], [NEVER, 2, 0], id="a file: not its name"),
        pytest.param([MADE, Data(A, 0, b""), Sync(ROOT)], [2, NEVER, 0], id="a directory: names, not contents"),
        pytest.param([MADE, LINKED, Sync(FOLDER)], [NEVER, 2, 0], id="a directory: its own names"),
        pytest.param([MOVED, Sync(ROOT)], [1, 0], id="a move: with the old directory"),
        pytest.param([MOVED, Sync(FOLDER)], [1, 0], id="a move: with the new directory"),
        pytest.param([MADE, MOVED, Sync(FOLDER)], [2, 2, 0], id="a move takes along the name's changes before it"),
        pytest.param([Write(0, b""), MADE, Mark("start")], [2, 2, 0], id="what was prepared: all"),
        pytest.param([Write(0, b""), Mark("other"), Note(b"")], [NEVER, 0, 0], id="other marks and notes: nothing"),
    ],
)
def test_where_each_change_became_durable(operations: list[Operation], at: list[int]) -> None:
    """The position of the sync; 0 for an operation that changes nothing."""
    assert Durability(operations).at == [len(operations) if place == NEVER else place for place in at]


def test_the_oldest_pending_change() -> None:
    """A position before which everything is durable, for each cut."""
    operations: list[Operation] = [Write(0, b""), Write(0, b""), Flush(), Note(b""), Write(0, b"")]
    assert Durability(operations).oldest == [0, 0, 0, 3, 4, 4]


def test_changes_to_one_name_hang_together() -> None:
    """Each change depends on the latest one before it to any of its names."""
    assert Durability([MADE, LINKED, MOVED, MADE]).along == {0: (), 1: (), 2: (0, 1), 3: (2,)}
