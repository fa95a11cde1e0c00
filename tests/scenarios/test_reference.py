"""The main job: the reference engine, killed everywhere, keeps every promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("reference")  # one whole run serves all tests of this module

CRASHMATRIX = [sys.executable, "-c", "from scenarios.cli import main; main()"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole default run, and what it printed."""
    directory = tmp_path_factory.mktemp("reference") / "report"
    command = [*CRASHMATRIX, "run", "--experiments", "kill", "--report", str(directory)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    (directory.parent / "output").write_text(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return directory


def kill_summary(report: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text())
    assert summary["verdict"] == "safe"
    part: dict[str, Any] = summary["experiments"]["kill"]
    return part


def test_every_scenario_is_safe(report: Path) -> None:
    """At least 300 scenarios, crashes during recovery among them, all safe."""
    part = kill_summary(report)
    assert part["verdicts"] == {"safe": part["scenarios"]}
    assert part["scenarios"] >= 300
    assert part["during_recovery"] >= 100
    assert part["scenarios_per_second"] > 0


def test_every_failpoint_is_hit(report: Path) -> None:
    """No failpoint of the reference engine goes without a crash at it."""
    part = kill_summary(report)
    assert part["failpoints_never_hit"] == []
    lines = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    assert len(lines) == part["scenarios"]
    assert len({line["point"] for line in lines}) == part["failpoints_declared"] + 1  # and the workload's end


def test_real_kills_agree(report: Path) -> None:
    """The sample killed for real left what the photographs show."""
    part = kill_summary(report)
    assert part["killed_for_real"] == part["agreed_with_photograph"] >= 20


def test_the_last_line_is_the_verdict(report: Path) -> None:
    """The output ends in one line: target, verdict, count, and where the report lies."""
    last = (report.parent / "output").read_text().replace("\n", " ").rstrip()
    assert last.endswith(f"report: {report}")
    assert "reference: safe" in last


def test_your_own_data(tmp_path: Path) -> None:
    """The same workload runs on the user's own rows, CSV as well."""
    rows = "".join(f"2024-01-01T{n // 60:02}:{n % 60:02}:00,{'ab'[n % 2]},{n / 7}\n" for n in range(600))
    (tmp_path / "mine.csv").write_text("at,sensor,value\n" + rows)
    command = ["run", "--data", "mine.csv", "--timestamp", "at", "--tags", "sensor", "--budget", "1", "--jobs", "1"]
    command += ["--experiments", "kill"]
    run = subprocess.run([*CRASHMATRIX, *command], capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    options = json.loads((tmp_path / "crashmatrix-report" / "summary.json").read_text())["options"]["options"]
    assert options == {"data": str(tmp_path / "mine.csv"), "timestamp": "at", "tags": ["sensor"]}
