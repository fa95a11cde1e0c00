"""On a tree, each change is named by its file or directory, then and where the power goes."""

import pytest

from crashmatrix.faults.disk import Data, Names, Node, Operation, Size, Sync
from crashmatrix.faults.disk.posix.naming import tree_changes, tree_syncs
from crashmatrix.faults.disk.trace.operations import ROOT, Attribute
from tests.faults.disk.posix.support import FILE, FOLDER, TWO, A, B, made_up, name, rename

FOLDER_D = (Node(B, FOLDER), name(ROOT, b"d", B))


@pytest.mark.parametrize(
    ("operations", "text", "now"),
    [
        ((*TWO,), "a, byte 0", "a"),
        ((*TWO[:3],), "a, its size: 1 byte", "a"),
        ((*TWO[:2],), "the store's folder: a made", "."),
        ((*TWO, name(ROOT, b"b", A)), "the store's folder: b linked to a", "."),
        ((*TWO, name(ROOT, b"a", 0)), "the store's folder: a removed", "."),
        ((*TWO, name(ROOT, b"b", A), name(ROOT, b"b", 0), Data(A, 0, b"2")), "a, byte 0", "a"),
        ((*TWO, rename((ROOT, b"a"), (ROOT, b"b"), A)), "the store's folder: a becomes b", "."),
        (
            (*TWO, Node(B, FILE), name(ROOT, b"b", B), rename((ROOT, b"a"), (ROOT, b"b"), A)),
            "the store's folder: a becomes b, in place of the one before",
            ".",
        ),
        ((*TWO, *FOLDER_D, rename((ROOT, b"a"), (B, b"b"), A)), "directory d: ./a becomes b", "d"),
        (
            (*TWO, Node(B, FILE), name(ROOT, b"b", B), Names(((ROOT, b"a", B), (ROOT, b"b", A)))),
            "the store's folder: a and b exchanged",
            ".",
        ),
        ((*TWO, Attribute(A, b"mode", b"33152")), "a: permissions become 600", "a"),
        ((*TWO, Attribute(A, b"owner", b"5 6")), "a: owner becomes 5:6", "a"),
        ((*TWO, Attribute(A, b"modified", b"1")), "a: time set at which it was modified", "a"),
        ((*TWO, Attribute(A, b"user.x", b"1")), "a: attribute user.x set", "a"),
        ((*TWO, Attribute(A, b"user.x", None)), "a: attribute user.x removed", "a"),
        ((Attribute(ROOT, b"mode", b"16832"),), "the store's folder: permissions become 700", "."),
        ((*TWO, name(ROOT, b"a", 0), Data(A, 0, b"2")), "a file without a name, byte 0", ""),
        ((*FOLDER_D, name(ROOT, b"d", 0), name(B, b"x", A)), "directory a directory without a name: x made", ""),
    ],
)
def test_the_last_change(operations: tuple[Operation, ...], text: str, now: str) -> None:
    """A change has two names: the file's name then, and its name at the cut."""
    trace = made_up(*operations)
    *_, last = tree_changes(trace, trace.finish).items()
    assert last[0] == len(operations) - 1
    assert (last[1].text, last[1].now) == (text, now)


def test_a_change_is_known_by_both_names() -> None:
    """A file written before its rename has another name where the power goes; a removed one has none."""
    trace = made_up(*TWO, rename((ROOT, b"a"), (ROOT, b"b"), A), name(ROOT, b"b", 0))
    names = [tree_changes(trace, cut)[3] for cut in (4, 5, 6)]
    assert [(named.path, named.now) for named in names] == [("a", "a"), ("a", "b"), ("a", "")]


def test_syncs_are_named_by_path() -> None:
    """Each sync has the path at that moment; empty if the file has no name then."""
    trace = made_up(*TWO, Sync(A), Sync(ROOT), *FOLDER_D, rename((ROOT, b"a"), (B, b"b"), A), Sync(A), Size(A, 0))
    removed = made_up(*TWO, name(ROOT, b"a", 0), Sync(A))
    assert list(tree_syncs(trace, trace.finish).values()) == ["a", ".", "d/b"]
    assert list(tree_syncs(trace, 5).values()) == ["a"]
    assert list(tree_syncs(removed, removed.finish).values()) == [""]
