"""The verdicts of several targets, and the names of their reports' folders."""

from __future__ import annotations

from crashmatrix.reports import Verdict
from crashmatrix.reports.several.targets import TARGETS, TargetRun, Targets
from tests.reports.samples import found, line_of, result, summary


def test_folders_of_targets() -> None:
    """Each target has a folder of its own, whatever its name; none is that of another file of the directory."""
    names = [
        "sqlite:wal-full",
        "a/b.py:Store",
        "a_b.py_Store",
        "../..",
        "index.html",
        "x" * 300,
        "x" * 300 + "y",
        "run.lock",
        "é",
    ]
    folders = [run.report for run in Targets.named(names).runs]
    assert folders[:4] == ["sqlite_wal-full", "a_b.py_Store", "a_b.py_Store_1", "target"]
    assert len(set(folders)) == len(names)
    assert not {"index.html", "summary.md", "run.lock", TARGETS} & set(folders)
    assert all(0 < len(folder) <= 110 and "/" not in folder and not folder.startswith(".") for folder in folders)


def test_verdict_of_all() -> None:
    """The worst verdict counts; a target that was not run is unknown."""
    fine = [result()]
    safe = line_of("fine", summary(fine), fine)
    broken = line_of("worse", *found())
    waiting = TargetRun(target="later", report="later")
    assert Targets(runs=[safe, safe]).verdict is Verdict.SAFE
    assert Targets(runs=[safe, safe]).headline == "safe: 2 of 2 targets"
    assert Targets(runs=[safe, waiting]).verdict is Verdict.UNKNOWN
    all_of_them = Targets(runs=[safe, broken, waiting, safe])
    assert all_of_them.verdict is broken.verdict
    assert all_of_them.headline == f"{broken.verdict}: 1 of 4 targets, unknown: 1, safe: 2"
    assert broken.findings > 1
    cut = line_of("cut", summary(fine, interrupted=True), fine)
    assert cut.headline.endswith("; interrupted")


def test_targets_that_were_not_run_to_their_end() -> None:
    """The headline says why: an error before the first scenario, or after some; nothing if it was not tried."""
    nothing = TargetRun(target="a", report="a")
    nothing.ran(summary([]), [])
    assert (nothing.headline, nothing.verdict) == ("", Verdict.UNKNOWN)
    refused = TargetRun(target="a", report="a")
    refused.ran(summary([]), [], "no such program")
    assert (refused.headline, refused.verdict) == ("not run: no such program", Verdict.UNKNOWN)
    late = TargetRun(target="a", report="a")
    late.ran(summary([result()], interrupted=True), [result()], "the disk is full")
    assert late.headline == "unknown; the disk is full"
    assert late.scenarios == 1
