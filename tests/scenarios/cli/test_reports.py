"""The commands that read reports: what they print, what they write, and their exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crashmatrix.reports import ReportWriter, ScenarioResult, Verdict
from crashmatrix.scenarios.cli.reports import app
from tests.reports.samples import result, summary

BROKEN = [result(), result(hit=2, verdict=Verdict.LOSES, explanation="gone")]
SAFE = [result(), result(hit=2)]


def written(directory: Path, results: list[ScenarioResult], shard: str = "") -> str:
    with ReportWriter(directory) as writer:
        for each in results:
            writer.add(each)
        writer.finish(replace(summary(results), shard=shard), results)
    return str(directory)


@pytest.mark.parametrize(("results", "status", "verdict"), [(SAFE, 0, "safe"), (BROKEN, 1, "loses")])
def test_report(results: list[ScenarioResult], status: int, verdict: str, tmp_path: Path) -> None:
    """`crashmatrix report` shows the verdict, writes the pages again, and ends with the verdict's status."""
    directory = written(tmp_path / "report", results)
    (tmp_path / "report" / "index.html").unlink()
    shown = CliRunner().invoke(app, ["report", directory])
    assert shown.exit_code == status
    assert f": {verdict}" in shown.stdout
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("old", "new", "status", "said"),
    [(SAFE, BROKEN, 1, "newly broken"), (BROKEN, SAFE, 0, "newly fixed"), (SAFE, SAFE, 0, "0 newly broken")],
)
def test_diff(old: list[ScenarioResult], new: list[ScenarioResult], status: int, said: str, tmp_path: Path) -> None:
    """Only what got worse makes it fail."""
    directories = [written(tmp_path / "old", old), written(tmp_path / "new", new)]
    compared = CliRunner().invoke(app, ["diff", *directories])
    assert compared.exit_code == status
    assert said in compared.stdout


def test_commands_name_the_directory_where_the_report_is(tmp_path: Path) -> None:
    """A report that was moved is replayed from where it is: the terminal and the pages say so."""
    broken = [replace(each, replay=f"crashmatrix replay {each.id} --report elsewhere") for each in BROKEN]
    old, new = written(tmp_path / "old", SAFE), written(tmp_path / "new one", broken)
    again = f"again: crashmatrix replay {broken[1].id} --report '{new}'"
    assert again in CliRunner().invoke(app, ["diff", old, new]).stdout
    assert again in CliRunner().invoke(app, ["report", new]).stdout
    assert f"--report '{new}'" in (tmp_path / "new one" / "summary.md").read_text()


def test_merge_without_a_shard(tmp_path: Path) -> None:
    """A merged report without one of its shards is unknown, and names the shard."""
    part = written(tmp_path / "part", SAFE, shard="1/2")
    merged = CliRunner().invoke(app, ["merge", str(tmp_path / "whole"), part])
    assert merged.exit_code == 3
    assert "2/2" in merged.stdout
    assert (tmp_path / "whole" / "summary.json").is_file()
