"""Reports of older versions are read as if today's had written them. `old/` keeps one, as written, of each format."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Labels, ReportWriter, read_report, read_results, render
from crashmatrix.reports.diff import compare
from crashmatrix.reports.result import FORMAT
from crashmatrix.reports.upgrade import upgrade_result, upgrade_summary
from tests import ROOT

OLD = ROOT / "tests" / "reports" / "old"
OLD_WORDS = ("photograph", "foretell")


@pytest.fixture(params=range(1, FORMAT))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A report of an older format; there is one of each."""
    return Path(shutil.copytree(OLD / f"format-{request.param}", tmp_path / "report"))


def test_read(old: Path, tmp_path: Path) -> None:
    """An old report has its results, counts and labels under today's names; written again, it is one of today's."""
    summary, results = read_report(old)
    assert read_results(old) == results
    assert len(results) == summary.scenarios == 60
    assert {one.method for one in results} == {"sigkill", "snapshot", "power-cut", "clean-end"}
    kill, power = summary.experiments["kill"], summary.experiments["power"]
    assert (kill.labels, power.labels) == (Labels(), Labels("recording", "cut at write", repeatable=False))
    assert kill.details["agreed_with_snapshot"] == kill.details["killed_for_real"] == 24
    assert {"snapshot", "predict", "check"} <= set(power.details["recordings"][0]["seconds"])
    with ReportWriter(tmp_path / "new") as writer:
        writer.finish(summary, results)
    assert read_report(tmp_path / "new") == (summary, results)
    stored = json.loads((tmp_path / "new" / "summary.json").read_bytes())
    assert stored["format"] == FORMAT
    del stored["experiments"]["kill"]["details"]["notes"]  # Sentences stay as they were said.
    assert not any(word in json.dumps(stored) for word in OLD_WORDS)


def test_used(old: Path) -> None:
    """An upgraded report can be shown, and does not differ from itself."""
    summary, results = read_report(old)
    render(old, summary, results)
    assert "cut at write" in (old / "index.html").read_text()
    difference = compare((summary, results), (summary, results))
    assert (difference.newly_broken, difference.newly_fixed, difference.coverage_lost) == ([], [], [])
    assert difference.still_broken > 0


def test_the_kept_report_is_old() -> None:
    """The test data has the old names."""
    text = (OLD / "format-1" / "summary.json").read_text() + (OLD / "format-1" / "results.jsonl").read_text()
    assert '"method": "photograph"' in text
    assert '"agreed_with_photograph"' in text
    assert '"foretell"' in text


def test_today_is_left_alone() -> None:
    """A document of today's format is not changed, whatever its fields are called."""
    summary: dict[str, Any] = {"experiments": {"kill": {"agreed_with_photograph": 1}}}
    line = {"method": "photograph"}
    upgrade_summary(summary, FORMAT)
    upgrade_result(line, FORMAT)
    assert summary == {"experiments": {"kill": {"agreed_with_photograph": 1}}}
    assert line == {"method": "photograph"}


@pytest.mark.parametrize(
    "experiments", [None, [], 3, {"kill": 3}, {"kill": {"recordings": 3}}, {"kill": {"recordings": [3]}}]
)
def test_wrong_types_are_left_to_the_check(experiments: Any) -> None:
    """A value of the wrong type passes: the check that follows names it."""
    upgrade_summary({"experiments": experiments}, 1)
    upgrade_result(experiments, 1)
