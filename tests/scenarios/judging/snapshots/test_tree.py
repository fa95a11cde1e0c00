"""Differences between two folders that count, and those that do not."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import CrashState
from crashmatrix.scenarios.judging.snapshots.sparse import digest_of
from crashmatrix.scenarios.judging.snapshots.tree import FILE, REPLACED, ROOT, UNREADABLE, Entry, Tree, joined
from crashmatrix.scenarios.target.journal import Promises

ONE = Entry(FILE, 0o644, "a1", (0, 0), (("user.x", b"1"),), modified_ns=5, accessed_ns=6, extents=((0, 4096),))


def of(**changes: object) -> Tree:
    fields = {field.name: getattr(ONE, field.name) for field in dataclasses.fields(ONE)}
    return Tree(((ROOT, Entry("directory", 0o755)), ("f", Entry(**{**fields, **changes}))))


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({}, True),
        ({"kind": "fifo"}, False),
        ({"mode": 0o600}, False),
        ({"content": "a2"}, False),
        ({"owner": (0, 1)}, False),
        ({"attributes": (("user.x", b"2"),)}, False),
        ({"attributes": ()}, False),
        ({"same": "e"}, False),
        ({"modified_ns": 7, "accessed_ns": 8}, True),
        ({"extents": ()}, True),
    ],
)
def test_equal(changes: dict[str, object], *, equal: bool) -> None:
    """Everything that survives and that two runs can share makes a difference, in the digest as in the list of differences."""
    one, other = of(), of(**changes)
    assert (one.digest == other.digest) is equal
    assert one.difference(other) == ([] if equal else ["f"])


def changed_at(times: Sequence[int]) -> Tree:
    """A folder whose files were changed at these times."""
    return Tree(tuple((str(number), Entry(FILE, 0o644, modified_ns=time)) for number, time in enumerate(times)))


@pytest.mark.parametrize(
    ("times", "others", "equal"),
    [
        ((1, 2, 3), (10, 200, 3000), True),
        ((1, 1, 2), (5, 5, 7), True),
        ((1, 1, 2), (5, 6, 7), False),
        ((1, 2, 3), (2, 1, 3), False),
        ((3, 2, 1), (1, 2, 3), False),
    ],
)
def test_order(times: tuple[int, ...], others: tuple[int, ...], *, equal: bool) -> None:
    """Which file is newer counts, and by how much does not; both folders are equal otherwise."""
    one, other = changed_at(times), changed_at(others)
    assert (one.order == other.order) is equal
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("times", "others", "equal"),
    [
        ((1, 5, 6), (1, 7, 7), True),
        ((1, 5, 6), (1, 9, 8), True),
        ((1, 4, 6), (1, 4, 4), False),
        ((1, 2, 6), (2, 1, 6), False),
        ((1, 5, 2), (1, 2, 5), False),
    ],
)
def test_order_since(times: tuple[int, ...], others: tuple[int, ...], *, equal: bool) -> None:
    """In which order a recovery wrote its files does not count; which files it wrote does, and the order before it."""
    before = Tree((("old", Entry(FILE, 0o644, modified_ns=4)),))
    one, other = changed_at(times), changed_at(others)
    assert (one.order_since(before) == other.order_since(before)) is equal


@pytest.mark.parametrize(
    ("files", "equal"),
    [
        ({"log": b"y", "7.sst": b"z"}, True),
        ({"log": b"x", "1.sst": b"", "2.sst": b"x"}, False),
        ({"log": b"", "1.sst": b"x"}, False),
        ({"log": b"x"}, False),
        ({"log": b"x", "1.sst": b"x", "23.sst": b"y"}, True),
    ],
)
def test_shape(files: dict[str, bytes], *, equal: bool) -> None:
    """Numbers in names, how often there is such a name, and contents do not count; names and what is empty do."""
    one, other = (
        Tree(tuple((name, Entry(FILE, 0o644, digest_of(data, len(data)))) for name, data in sorted(each.items())))
        for each in ({"log": b"x", "1.sst": b"x"}, files)
    )
    assert (one.shape == other.shape) is equal


def test_states_that_differ_in_the_order_of_times_are_judged_apart() -> None:
    """They have one name and two keys; states whose files have other times in the same order have one of each."""
    rows = [(1, 2), (1001, 1002), (2, 1)]
    trees = (
        Tree(tuple((name, Entry(FILE, 0o644, modified_ns=at)) for name, at in zip("ab", row, strict=True)))
        for row in rows
    )
    states = [CrashState(tree, Promises()) for tree in trees]
    assert len({state.digest for state in states}) == 1
    assert states[0].key == states[1].key != states[2].key


def test_only_the_times_of_files_have_an_order() -> None:
    """A folder's time changes with everything that passes through it, such as a lock file that is gone again."""
    folders = [Tree((("d", Entry("directory", 0o755, modified_ns=at)), ("f", ONE))) for at in (1, 9)]
    assert folders[0].order == folders[1].order


def test_names_of_one_file() -> None:
    """The same names and contents are another folder if they are one file, or another grouping of files."""
    entries = [(name, Entry(FILE, 0o644, "a1")) for name in "abcd"]
    trees = [joined(entries, groups) for groups in ((), ("ab",), ("ba",), ("ab", "cd"), ("ad", "bc"), ("abcd",))]
    assert trees[1] == trees[2]
    assert len({tree.digest for tree in trees}) == 5
    assert [entry.same for _, entry in joined(entries, ["db"]).entries] == ["", "", "", "b"]


@pytest.mark.parametrize(("kind", "verdict"), [(REPLACED, Verdict.CANNOT_OPEN), (UNREADABLE, Verdict.UNKNOWN)])
def test_unusable(kind: str, verdict: Verdict) -> None:
    """A tree that stands for no folder says what its verdict is, and why."""
    assert Tree((("", Entry(kind, 0, "why")),)).unusable == (verdict, "why")


@pytest.mark.parametrize("tree", [Tree(()), of()])
def test_usable(tree: Tree) -> None:
    """So does no other, not even that of a folder that is gone."""
    assert tree.unusable is None


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_digest_is_that_of_the_entries_written_out(count: int) -> None:
    """Reports of other versions name states by it."""
    tree = Tree(tuple((f"f'{number}", dataclasses.replace(ONE, mode=number)) for number in range(count)))
    assert tree.digest == hashlib.blake2b(repr(tree.entries).encode(), digest_size=12).hexdigest()
