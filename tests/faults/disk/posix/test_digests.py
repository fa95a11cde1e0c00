"""Digests of trees: equal exactly when the trees are."""

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Data, Mark, Node, Size, record
from crashmatrix.faults.disk.posix.digests import TreeDigests
from crashmatrix.faults.disk.trace.operations import ROOT
from tests.faults.disk.posix.support import FILE, FOLDER, POSIX, TWO, A, B, Files, made_up, name, small
from tests.faults.disk.support import in_child, tree


@pytest.mark.usefixtures("fuse")
def test_equal_digests_mean_equal_trees() -> None:
    """Two states have one digest exactly if they are laid out as equal trees."""
    trace = record(small, options=POSIX)
    states = CrashStates(trace)

    def run() -> dict[str, Files]:
        with CrashImages(trace) as images:
            found = {}
            for state in states:
                with images.mounted(state) as root:
                    found[str(state)] = frozenset(tree(root).items())
            return found

    found = in_child(run)
    digests = {str(state): states.digests.of(state) for state in states}
    pairs = {(digests[state], found[state]) for state in found}
    assert len(pairs) == len({digest for digest, _ in pairs}) == len({files_ for _, files_ in pairs}) > 5


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
        (Node(B, FILE), name(ROOT, b"c", B)),
        (Node(B, FILE), name(ROOT, b"b", B), Size(B, 1)),
        (Node(B, FILE), name(ROOT, b"b", B), Size(B, 1), Data(B, 0, b"x")),
        (),
    ],
    ids=["permissions", "kind", "name", "size", "content", "nothing"],
)
def test_any_difference_shows(other: tuple[Node, ...]) -> None:
    """Trees that differ in anything a program can see have different digests."""
    one, another = made_up(Node(B, FILE), name(ROOT, b"b", B)), made_up(*other)
    first, second = (TreeDigests(trace).of(CrashState.whole(trace, trace.finish)) for trace in (one, another))
    assert first != second
