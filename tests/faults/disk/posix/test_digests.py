"""Digests of trees: equal exactly when the trees are."""

from pathlib import Path

import pytest

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    CrashStates,
    Data,
    Mark,
    Node,
    Operation,
    Size,
    Sync,
    record,
)
from crashmatrix.faults.disk.posix.digests import TreeDigests
from crashmatrix.faults.disk.trace.operations import ROOT, Attribute
from tests.faults.disk.posix.support import FILE, FOLDER, POSIX, TWO, A, B, Files, made_up, name, small
from tests.faults.disk.support import in_child, tree


@pytest.mark.usefixtures("fuse")
def test_equal_digests_mean_equal_trees() -> None:
    """Two states have one digest exactly if they are laid out as equal trees, with their files' times in the same order."""
    trace = record(small, options=POSIX)
    states = CrashStates(trace)
    every = [*states]
    some = every[:: len(every) // 300 + 1]

    def run() -> dict[str, tuple[Files, str]]:
        with CrashImages(trace) as images:
            found = {}
            for state in some:
                with images.mounted(state) as root:
                    found[str(state)] = frozenset(tree(root).items()), order_of_times(root)
            return found

    found = in_child(run)
    digests = {str(state): states.digests.of(state) for state in some}
    pairs = {(digests[state], found[state]) for state in found}
    assert len(pairs) == len({digest for digest, _ in pairs}) == len({files_ for _, files_ in pairs}) > 5


def order_of_times(root: Path) -> str:
    times = {path.name: path.stat().st_mtime_ns for path in sorted(root.iterdir())}
    return " ".join(f"{name}:{sorted(set(times.values())).index(time)}" for name, time in times.items())


def test_a_hard_link_is_not_a_copy() -> None:
    """Files that are one and files that are only equal are different trees."""
    copy = (Node(B, FILE), Size(B, 1), Data(B, 0, b"1"), Mark("start"), name(ROOT, b"b", A), name(ROOT, b"b", B))
    trace = made_up(*TWO, *copy)
    digests = [CrashStates(trace).digests.of(CrashState(trace.finish, kept, (), 2)) for kept in range(4)]
    assert len({*digests}) == 3  # Neither, the link, the copy; which is never there without the link before it.


@pytest.mark.parametrize(
    "other",
    [
        (Node(B, FILE | 0o111), name(ROOT, b"b", B)),
        (Node(B, FOLDER), name(ROOT, b"b", B)),
        (Node(B, FILE, b"", (0, 1)), name(ROOT, b"b", B)),
        (Node(B, FILE), name(ROOT, b"b", B), Attribute(B, b"user.x", b"1")),
        (Node(B, FILE), name(ROOT, b"b", B), Attribute(B, b"modified", b"1")),
        (Node(B, FILE), name(ROOT, b"b", B), Attribute(ROOT, b"mode", b"16832")),
        (Node(B, FILE), name(ROOT, b"c", B)),
        (Node(B, FILE), name(ROOT, b"b", B), Size(B, 1)),
        (Node(B, FILE), name(ROOT, b"b", B), Size(B, 1), Data(B, 0, b"x")),
        (),
    ],
    ids=[
        "permissions",
        "kind",
        "owner",
        "attribute",
        "time",
        "the folder's own permissions",
        "name",
        "size",
        "content",
        "nothing",
    ],
)
def test_any_difference_shows(other: tuple[Node, ...]) -> None:
    """Trees that differ in anything a program can see have different digests."""
    one, another = made_up(Node(B, FILE), name(ROOT, b"b", B)), made_up(*other)
    first, second = (TreeDigests(trace).of(CrashState.whole(trace, trace.finish)) for trace in (one, another))
    assert first != second


ZEROS, X = bytes(1024), b"x" * 1024
MADE = (Node(A, FILE), name(ROOT, b"a", A), Size(A, 4096), Data(A, 0, X * 2), Sync(A))


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ([Data(A, 0, X)], (0,)),  # Unchanged; the first sector stands for its time.
        ([Data(A, 0, b"y" + X)], (0, 1)),  # The second stands for those that are as before.
        ([Data(A, 512, X[:511] + b"y" + X)], (0, 1)),
        ([Data(A, 2048, ZEROS)], (0,)),
        ([Data(A, 2048, X)], (0, 1)),
        ([Data(A, 1024, X * 2)], (0, 2, 3)),
        ([Data(A, 300, b"x" * 100 + b"y")], (0,)),
        ([Size(A, 600), Size(A, 4096), Data(A, 0, X)], (0, 1)),  # Cut off and zeros, then as before.
        ([Size(A, 8192), Data(A, 4096, ZEROS)], (0,)),
        ([Data(A, 0, b"y"), Data(A, 0, X)], (0, 1)),  # As it was, unless the write before is there.
        ([Data(A, 0, b"y"), Sync(A), Data(A, 0, X)], (0, 1)),
        ([Data(A, 0, b"y"), Sync(A), Data(A, 0, b"y")], (0,)),
        ([Data(A, 1024, b"y"), Data(A, 0, X)], (0,)),
        ([Size(A, 8192)], None),
        ([name(ROOT, b"b", A)], None),
    ],
)
def test_what_a_write_changes(changes: list[Operation], changed: tuple[int, ...] | None) -> None:
    """The sectors whose bytes differ from the durable ones, or from those that a pending change put there; and one other."""
    trace = made_up(*MADE, Mark("start"), *changes)
    assert TreeDigests(trace).changed(trace.finish - 1) == changed
