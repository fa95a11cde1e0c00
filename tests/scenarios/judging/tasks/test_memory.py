"""A value is recalled only with all the files that its snapshots name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from crashmatrix.reports import ReportWriter, RunSummary, ScenarioResult, Verdict
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.memory import Memory

RESULT = ScenarioResult(
    id="kill:a@1", experiment="kill", point="a", hit=1, depth=0, method="snapshot", fault="", verdict=Verdict.SAFE
)


@dataclass(frozen=True)
class Found:
    """A value with a snapshot."""

    tree: Tree


def store_in(folder: Path) -> SnapshotStore:
    folder.mkdir()
    return SnapshotStore(folder)


@pytest.mark.parametrize("lost", ["", "removed", "changed"])
def test_recalled_with_its_files(lost: str, tmp_path: Path) -> None:
    """A resumed run lays out what the earlier one captured; without the file's content, the value is made anew."""
    root, report = tmp_path / "root", tmp_path / "report"
    root.mkdir()
    (root / "file").write_bytes(b"content" * 100)
    store = store_in(tmp_path / "one")
    with ReportWriter(report) as writer:
        writer.add(RESULT)
        made = Memory(store, writer.ledger).once("a", Found, lambda: Found(store.capture(root)), lambda it: [it.tree])
    (kept,) = [path for path in (report / "resume" / "contents").iterdir() if path.read_bytes() == b"content" * 100]
    if lost == "removed":
        kept.unlink()
    if lost == "changed":
        kept.write_bytes(b"Content" * 100)
    calls = []

    def anew() -> Found:
        calls.append("made")
        return made

    another = store_in(tmp_path / "two")
    with ReportWriter(report, resume=True) as writer:
        memory = Memory(another, writer.ledger)
        assert memory.once("a", Found, anew, lambda it: [it.tree]) == made
        writer.finish(RunSummary(target="x", seed=0, options={}, versions={}), [RESULT])
    assert calls == (["made"] if lost else [])
    if not lost:
        another.restore(made.tree, tmp_path / "again")
        assert (tmp_path / "again" / "file").read_bytes() == b"content" * 100
    assert not (report / "resume").exists()
