"""The tree that a crash state leaves: the promises of fsync(2) hold, and everything they do not promise is missing somewhere."""

import os
import stat
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashState, Data, Mark, Node, Operation, Size, Sync, Trace
from crashmatrix.faults.disk.posix.tree import Tree, Trees, lay_out
from crashmatrix.faults.disk.trace.operations import ROOT
from tests.faults.disk.posix.support import FILE, FOLDER, TWO, A, B, C, Files, files, made_up, name, rename
from tests.faults.disk.support import tree


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


def test_what_is_laid_out_is_the_tree(tmp_path: Path) -> None:
    """Files, holes, links of both kinds and permissions become real ones."""
    trace = made_up(
        *(*TWO, Size(A, 10_000), name(ROOT, b"same", A), Node(B, stat.S_IFDIR | 0o750), name(ROOT, b"d", B)),
        *(Node(C, stat.S_IFLNK | 0o777, b"../a"), name(B, b"l", C), Node(C + 1, stat.S_IFIFO | 0o600)),
        *(name(B, b"p", C + 1), Node(C + 2, stat.S_IFREG | 0o400), name(B, b"f", C + 2)),
    )
    lay_out(Trees(trace).of(CrashState.whole(trace, trace.finish)), tmp_path)
    assert stat.S_ISFIFO((tmp_path / "d/p").stat().st_mode)
    (tmp_path / "d/p").unlink()  # Reading it would block.
    content = b"1" + bytes(9999)
    assert tree(tmp_path) == {"a": content, "same": content, "d": None, "d/l": content, "d/f": b""}
    assert (tmp_path / "a").samefile(tmp_path / "same")
    assert (tmp_path / "d/l").readlink() == Path("../a")
    modes = {path: stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "d", "d/f")}
    assert modes == {"a": 0o644, "d": 0o750, "d/f": 0o400}
