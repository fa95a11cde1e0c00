"""Crash images of trees: each state's files are its own, and are what the tree says."""

import tarfile
from pathlib import Path

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Data, Mark, Node, Size, record
from crashmatrix.faults.disk.trace.operations import ROOT
from tests.faults.disk.posix.support import FILE, POSIX, TWO, A, B, made_up, name, small
from tests.faults.disk.support import in_child, tree

pytestmark = pytest.mark.usefixtures("fuse")


def test_hard_links_are_laid_out_as_such() -> None:
    """A file with two names is one file; an equal one is another."""
    copy = (Node(B, FILE), Size(B, 1), Data(B, 0, b"1"), Mark("start"), name(ROOT, b"b", A), name(ROOT, b"b", B))
    trace = made_up(*TWO, *copy)

    def run() -> list[int]:
        links = []
        with CrashImages(trace) as images:
            for kept in (1, 2):
                with images.mounted(CrashState(trace.finish, kept, (), 2)) as root:
                    links.append((root / "a").stat().st_nlink)
        return links

    assert in_child(run) == [2, 1]


def test_what_is_done_to_a_state_reaches_no_other(tmp_path: Path) -> None:
    """Each state's files are its own; a saved one is a tar archive of them."""
    trace = record(small, options=POSIX)
    states = CrashStates(trace)
    name_ = str(tmp_path / "tree.tar")

    def run() -> None:
        with CrashImages(trace) as images:
            for _ in range(2):
                with images.mounted(states.clean) as root:
                    assert tree(root) == {"loose": b"l" * 6000, "synced": b"s" * 3000}
                    (root / "loose").unlink()
                    (root / "synced").write_bytes(b"dirt")
                    (root / "more").mkdir()
                assert not root.parent.exists()
            images.save(states.clean, Path(name_))

    in_child(run)
    with tarfile.open(name_) as archive:
        assert sorted(archive.getnames()) == ["data", "data/loose", "data/synced"]
