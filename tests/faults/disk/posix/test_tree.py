"""The tree that a crash state leaves: the promises of fsync(2) hold, and everything they do not promise is missing somewhere."""

import os
import stat
from dataclasses import replace

import pytest

from crashmatrix.faults.disk import CrashState, Data, Mark, Node, Operation, Size, Sync, Trace
from crashmatrix.faults.disk.posix.tree import Tree, Trees
from crashmatrix.faults.disk.trace.operations import MODE, MODIFIED, OWNER, ROOT, Attribute
from tests.faults.disk.posix.support import FILE, FOLDER, TWO, A, B, C, Files, files, made_up, name, rename


def shown(left: Tree) -> Files:
    """Return names and contents, without laying them out."""
    return frozenset((os.fsdecode(path), content_of(left, path)) for path, _, _ in left.entries)


def content_of(left: Tree, path: bytes) -> bytes | None:
    node, content = next((node, content) for place, node, content in left.entries if place == path)
    if stat.S_ISDIR(node.mode):
        return None
    whole = bytearray(content.size)
    for offset, data in content.runs():
        whole[offset : offset + len(data)] = data
    return bytes(whole[: content.size])


def trees_of(trace: Trace) -> set[Files]:
    """Return all trees that a power cut at the end can leave."""
    pending, trees = len(trace.pending(trace.finish)), Trees(trace)
    return {shown(trees.of(CrashState(trace.finish, kept, (), pending))) for kept in range(1 << pending)}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        pytest.param(
            TWO, [{}, {"a": b""}, {"a": b"\0"}, {"a": b"1"}], id="nothing synced: no name, no size, no data, or all"
        ),
        pytest.param((*TWO, Sync(A)), [{}, {"a": b"1"}], id="fsync of the file: whole, if it has its name"),
        pytest.param(
            (*TWO, Sync(ROOT)), [{"a": b""}, {"a": b"\0"}, {"a": b"1"}], id="fsync of the directory: the name only"
        ),
        pytest.param((*TWO, Sync(A), Sync(ROOT)), [{"a": b"1"}], id="both: durable"),
        pytest.param((*TWO, Mark("start")), [{"a": b"1"}], id="prepared: durable"),
        pytest.param(
            (*TWO, Mark("start"), rename((ROOT, b"a"), (ROOT, b"b"), A)),
            [{"a": b"1"}, {"b": b"1"}],
            id="a rename is whole",
        ),
        pytest.param(
            (*TWO, Mark("start"), name(ROOT, b"b", A), name(ROOT, b"a", 0)),
            [{"a": b"1"}, {"a": b"1", "b": b"1"}, {"b": b"1"}, {}],
            id="link and unlink are two: the file can be lost",
        ),
        pytest.param(
            (*TWO, Node(B, FOLDER), name(ROOT, b"d", B), Mark("start"), rename((ROOT, b"a"), (B, b"a"), A), Sync(B)),
            [{"d": None, "d/a": b"1"}],
            id="a rename between directories is durable with either",
        ),
        pytest.param(
            (Node(B, FOLDER), name(ROOT, b"d", B), Node(A, FILE), name(B, b"a", A), Sync(A), Sync(B)),
            [{}, {"d": None, "d/a": b""}],
            id="a directory without a name takes what is below it along",
        ),
        pytest.param(
            (
                *(Node(B, FOLDER), name(ROOT, b"x", B), Mark("start")),
                *(rename((ROOT, b"x"), (ROOT, b"y"), B), rename((ROOT, b"y"), (ROOT, b"z"), B)),
            ),
            [{"x": None}, {"y": None}, {"z": None}],
            id="a name's changes are in order: a directory is in one place",
        ),
        pytest.param(
            (*TWO, Mark("start"), Size(A, 0), Size(A, 2), Data(A, 0, b"22")),
            [{"a": b"1"}, {"a": b""}, {"a": b"1\0"}, {"a": b"\0\0"}, {"a": b"22"}, {"a": b"2"}],
            id="emptied and written anew: any of it",
        ),
        pytest.param(
            (*TWO, Size(A, 3), Data(A, 0, b"123"), Mark("start"), Size(A, 1), Size(A, 2)),
            [{"a": b"123"}, {"a": b"1"}, {"a": b"12"}, {"a": b"1\0"}],
            id="what was cut off is not there when the file grows again",
        ),
        pytest.param(
            (
                *(*TWO, Node(B, FOLDER), name(ROOT, b"b", B), Node(C, FOLDER), name(ROOT, b"c", C), Mark("start")),
                *(rename((ROOT, b"a"), (B, b"a"), A), rename((B, b"a"), (C, b"a"), A), Sync(C)),
            ),
            [{"b": None, "c": None, "c/a": b"1"}],
            id="a rename that is durable is so with the one before it",
        ),
    ],
)
def test_what_a_power_cut_leaves(operations: tuple[Operation, ...], expected: list[dict[str, bytes | None]]) -> None:
    """The promises of fsync(2) hold, rename(2) is one change, and every combination of the rest is a crash state."""
    assert trees_of(made_up(*operations)) == {files(**tree_) for tree_ in expected}


def test_torn_writes_miss_sectors_of_the_file() -> None:
    """A write tears between the file's 512-byte sectors, wherever it begins; what is missing is as it was before."""
    trace = made_up(
        *(Node(A, FILE), name(ROOT, b"a", A), Size(A, 2000), Data(A, 0, b"o" * 2000), Mark("start")),
        Data(A, 100, b"n" * 1500),
    )
    left = Trees(trace).of(CrashState.parse(f"{trace.finish}-all-t0.1+2", trace))
    assert content_of(left, b"a") == b"o" * 100 + b"n" * 412 + b"o" * 1024 + b"n" * 64 + b"o" * 400


MADE = (*TWO, Mark("start"))


def attributes_at_the_end(*operations: Operation) -> set[tuple[object, ...]]:
    """File `a`, as the states show it that a power cut at the end can leave."""
    trace = made_up(*MADE, *operations)
    pending, trees = len(trace.pending(trace.finish)), Trees(trace)
    found = (trees.of(CrashState(trace.finish, kept, (), pending)).entries for kept in range(1 << pending))
    return {(node.mode & 0o7777, node.owner, dict(node.attributes).get(b"user.x")) for ((_, node, _),) in found}


PLAIN = (0o644, (0, 0), None)
SEALED, GIVEN = Attribute(A, MODE, b"%d" % (stat.S_IFREG | 0o400)), Attribute(A, OWNER, b"5 6")
FIRST, SECOND, GONE = (Attribute(A, b"user.x", value) for value in (b"1", b"2", None))


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ((SEALED,), {PLAIN, (0o400, (0, 0), None)}),
        ((SEALED, Sync(A)), {(0o400, (0, 0), None)}),
        ((SEALED, Sync(A, data_only=True)), {PLAIN, (0o400, (0, 0), None)}),
        ((SEALED, Sync(ROOT)), {PLAIN, (0o400, (0, 0), None)}),
        ((GIVEN, SEALED), {PLAIN, (0o400, (0, 0), None), (0o644, (5, 6), None), (0o400, (5, 6), None)}),
        ((FIRST,), {PLAIN, (0o644, (0, 0), b"1")}),
        ((FIRST, Sync(A), SECOND), {(0o644, (0, 0), b"1"), (0o644, (0, 0), b"2")}),
        ((FIRST, Sync(A), GONE), {(0o644, (0, 0), b"1"), PLAIN}),
        ((FIRST, SECOND, Sync(A)), {(0o644, (0, 0), b"2")}),
        ((FIRST, GONE, Sync(A)), {PLAIN}),
    ],
)
def test_attributes_that_a_power_cut_leaves(operations: tuple[Operation, ...], left: set[tuple[object, ...]]) -> None:
    """fsync of the file keeps its permissions, owner and attributes. Its fdatasync keeps none, nor does the folder's fsync."""
    assert attributes_at_the_end(*operations) == left


@pytest.mark.parametrize(
    ("operations", "times"),
    [
        ((), {2}),
        ((Data(A, 0, b"2"),), {2, 5}),
        ((Data(A, 0, b"2"), Sync(A)), {5}),
        ((Attribute(A, MODIFIED, b"77"),), {2, 77}),
        ((Attribute(A, MODIFIED, b"77"), Sync(A)), {77}),
        ((Attribute(A, MODIFIED, b"77"), Sync(A, data_only=True)), {2, 77}),
        ((Attribute(A, MODIFIED, b"77"), Sync(A), Data(A, 0, b"2")), {77, 7}),
        ((Data(A, 0, b"2"), Attribute(A, MODIFIED, b"77")), {2, 5, 77}),
        ((SEALED,), {2}),
    ],
)
def test_times_that_a_power_cut_leaves(operations: tuple[Operation, ...], times: set[int]) -> None:
    """The time of a file is that of its last change that is left, or the one that a program set, if fsync kept it."""
    trace = replace(made_up(*MADE, *operations), clock=tuple((at, at if at > 4 else min(at, 2)) for at in range(1, 20)))
    pending, trees = len(trace.pending(trace.finish)), Trees(trace)
    found = (trees.of(CrashState(trace.finish, kept, (), pending)).entries for kept in range(1 << pending))
    assert {node.modified_ns for ((_, node, _),) in found} == times
