"""The changes of a directory's names; a number of an inode that is used again is not a rename."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from crashmatrix.faults.disk.block.ext4.names import Lives, what_changed

IN_PLACE = "in place of the one before"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"a": 1, "b": 2, "c": 3}, {"b": 1, "c": 3, "d": 4}, [f"a becomes b, {IN_PLACE}", "d made"]),
        ({"a": 1}, {"b": 1}, ["a becomes b"]),
        ({"b": 1, "c": 3, "d": 4}, {}, ["b removed", "c removed", "d removed"]),
        ({}, {"a": 1}, ["a made"]),
        ({"a": 1}, {"a": 2}, ["a replaced"]),
        ({"a": 1}, {"a": 1, "b": 1}, ["b linked to a"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 1}, ["b linked to a"]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, ["a and b exchanged"]),
        ({"log": 1}, {"log": 2, "log.1": 1}, ["log made", "log becomes log.1"]),
        ({"a": 1, "b": 2}, {"b": 1, "c": 2}, ["a becomes b", "b becomes c"]),
        ({"a": 1}, {"a": 1}, []),
    ],
)
def test_changes_of_a_directory(before: dict[str, int], after: dict[str, int], words: list[str]) -> None:
    """A name that went and came under another is a rename; one that came beside another is a link."""
    assert what_changed(before, after) == words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"6.sst": 7}, {"wal.5": 7}, ["wal.5 made", "6.sst removed"]),
        ({"6.sst": 7, "wal.5": 8}, {"wal.5": 7}, ["wal.5 replaced", "6.sst removed"]),
        ({"a": 7}, {"a": 7}, ["a replaced"]),
    ],
)
def test_a_number_used_again(before: dict[str, int], after: dict[str, int], words: list[str]) -> None:
    """A new file that gets the number of one that was removed is not a rename."""
    assert what_changed(before, after, lambda inode: inode != 7) == words


@pytest.mark.parametrize(
    ("journal", "learnt", "one", "other", "same"),
    [
        (True, [], 1, 2, True),
        (True, [(1, 5), (3, 5)], 1, 3, True),
        (True, [(1, 5), (3, 6)], 1, 3, False),
        (True, [(1, 5), (3, 6)], 1, 2, True),
        (True, [(3, 6)], -1, 3, False),
        (True, [(3, 6), (4, 6)], 3, 4, True),
        (True, [(1, 5), (2, 6), (3, 5)], 1, 3, False),
        (False, [(10, 5), (21, 6)], 12, 20, False),
        (False, [(10, 5), (21, 5), (30, 6)], 12, 20, True),
    ],
)
def test_lives(journal: bool, learnt: list[tuple[int, int]], one: int, other: int, same: bool) -> None:
    """A number means one file as long as its generation stays; without a journal, up to the next look at the inode."""
    layout = SimpleNamespace(journal=journal, generations=lambda block, data: {12: data[0]} if block == 9 else {})
    lives = Lives(cast(Any, layout), base=lambda _: b"\0")
    for moment, generation in learnt:
        lives.learn(moment, 9, bytes([generation]))
    assert lives.same(12, one, other) is same
