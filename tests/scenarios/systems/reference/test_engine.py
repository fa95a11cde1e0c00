"""The main job: the reference engine, killed everywhere, keeps every promise."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.kill import second_lives
from crashmatrix.scenarios.kill.experiment import Kill, KillExperiment
from crashmatrix.scenarios.shards import Shard
from tests.scenarios.command_line import CRASHMATRIX

pytestmark = pytest.mark.experiment


def test_safe_where_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of all hits, and one recovery deep: every crash is safe, real kills agree. The main job below has them all."""
    whole = Kill.experiment

    def shallow(*arguments: Any) -> KillExperiment:
        experiment = whole(*arguments)
        experiment.depth_max, experiment.sample_min = 1, 5
        return experiment

    monkeypatch.setattr(Kill, "experiment", shallow)
    monkeypatch.setattr(second_lives, "KILLS_MIN", 4)
    Campaign(Plan(experiments=("kill",), budget=60, shard=Shard(1, 64), report=tmp_path / "report")).run()
    part = the_part(tmp_path / "report")
    assert part["scenarios"] >= 12
    assert part["details"]["killed_for_real"] >= 4
    assert part["details"]["during_recovery"] >= 2


@pytest.mark.slow
def test_main_job(tmp_path: Path) -> None:
    """The default kill run of the program: as above, at every hit and two recoveries deep; the verdict comes last."""
    report = tmp_path / "report"
    command = [*CRASHMATRIX, "run", "--experiments", "kill", "--report", str(report)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    all_is_well(report)
    last = run.stdout.replace("\n", " ").rstrip()
    assert "reference: safe" in last
    assert last.endswith(f"report: {report}")


def the_part(report: Path) -> dict[str, Any]:
    """The kill experiment's part of a summary, once it was found safe and confirmed."""
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text())
    part: dict[str, Any] = summary["experiments"]["kill"]
    assert summary["verdict"] == "safe"
    assert part["verdicts"] == {"safe": part["scenarios"]}
    assert part["details"]["killed_for_real"] == part["details"]["agreed_with_snapshot"]
    return part


def all_is_well(report: Path) -> None:
    part = the_part(report)
    assert part["scenarios"] >= 300
    assert part["details"]["killed_for_real"] >= 20
    assert part["details"]["during_recovery"] >= 100
    assert part["details"]["failpoints_never_hit"] == []
    lines = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    assert len(lines) == part["scenarios"]
    points = {line["point"] for line in lines}
    assert len(points) == part["details"]["failpoints_declared"] + 1  # and the workload's end


@pytest.mark.slow
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
