"""A run that was killed goes on in its report directory: the same plan, ids and verdicts, and nothing judged twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ScenarioResult, read_results
from crashmatrix.reports.folder import Folder
from crashmatrix.reports.ledger import Ledger, Synced
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import Listener
from crashmatrix.scenarios.judging.memory import Memory
from tests.scenarios.command_line import CRASHMATRIX

STORE = f"{Path(__file__).parents[1] / 'resumed_store.py'}:Store"
OPTIONS = {"kill": "30", "io-error": "24", "power": "40"}


class Killing(Listener):
    """Kills this process at the n-th result, or at a stage."""

    def __init__(self, results: int, stage: str = "") -> None:
        self._left, self._stage = results, stage

    def planned(self, stage: str, total: int) -> None:
        if self._stage and stage.startswith(self._stage):
            os.kill(os.getpid(), signal.SIGKILL)

    def result(self, result: ScenarioResult) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def plan_of(experiment: str, report: Path) -> Plan:
    return Plan(
        target=STORE, experiments=(experiment,), budget=int(OPTIONS[experiment]), filesystems=("posix",), report=report
    )


def killed(plan: Plan, results: int, stage: str = "") -> None:
    """Run a plan in another process, which kills itself on the way."""
    text = (
        "from tests.scenarios.campaign.test_resume import *; from pathlib import PosixPath; "
        f"Campaign(plan_of({plan.experiments[0]!r}, Path({str(plan.report)!r})), Killing({results}, {stage!r})).run()"
    )
    run = subprocess.run([CRASHMATRIX[0], "-c", text], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr


def keys_of(report: Path) -> list[str]:
    """The keys of what a killed run has left."""
    ledger, synced = Ledger(), Synced()
    with Folder.open(report) as folder:
        ledger.load(folder, synced)
        keys = [key for key in ledger.keys() if key != "plan"]  # noqa: SIM118  # not a dictionary
    synced.close()
    ledger.close()
    return keys


def run(plan: Plan) -> Campaign:
    campaign = Campaign(plan)
    campaign.run()
    return campaign


def verdicts(campaign: Campaign) -> dict[str, str]:
    return {result.id: result.verdict.value for result in campaign.results}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Campaign]:
    made: dict[str, Campaign] = {}

    def get(experiment: str) -> Campaign:
        if experiment not in made:
            made[experiment] = run(plan_of(experiment, tmp_path_factory.mktemp(experiment) / "report"))
        return made[experiment]

    return get


@pytest.fixture
def found_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of what is found out in this process, and not remembered."""
    keys: list[str] = []
    once = Memory.once

    def counting(self: Memory, key: str, kind: Any, make: Callable[[], Any], *trees: Any) -> Any:
        def made() -> Any:
            keys.append(key)
            return make()

        return once(self, key, kind, made, *trees)

    monkeypatch.setattr(Memory, "once", counting)
    return keys


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("experiment", "results", "stage"),
    [
        ("kill", 10, ""),
        pytest.param("kill", 1, "", marks=pytest.mark.slow),
        pytest.param("kill", 10**6, "recovering, depth 1", marks=pytest.mark.slow),
        pytest.param("kill", 10**6, "resuming", marks=pytest.mark.slow),
        pytest.param("kill", 10**6, "killing for real", marks=pytest.mark.slow),
        pytest.param("io-error", 1, "", marks=pytest.mark.slow),
        pytest.param("io-error", 20, "", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed(
    experiment: str,
    results: int,
    stage: str,
    undisturbed: Callable[[str], Campaign],
    found_out: list[str],
    tmp_path: Path,
) -> None:
    """The coordinator is killed with SIGKILL; what it had found out is not found out again."""
    whole = undisturbed(experiment)
    found_out.clear()
    plan = plan_of(experiment, tmp_path / "report")
    killed(plan, results, stage)
    known = keys_of(plan.report)
    resumed = run(replace(plan, resume=True))
    assert verdicts(resumed) == verdicts(whole)
    details = [campaign.summary.experiments[experiment].details for campaign in (resumed, whole)]
    assert details[0]["plan"] == details[1]["plan"]
    assert any("resumed" in note for note in details[0]["notes"])
    assert known
    assert not {*known} & {*found_out}
    assert not (plan.report / "resume").exists()


@pytest.mark.slow
@pytest.mark.recorded
@pytest.mark.parametrize("results", [1, 12, 30])
def test_power_killed_and_resumed(results: int, tmp_path: Path) -> None:
    """Recordings are not made again, so the ids of the killed run are found in the resumed one, with their verdicts."""
    plan = plan_of("power", tmp_path / "report")
    killed(plan, results)
    before = read_results(plan.report)
    resumed = verdicts(run(replace(plan, resume=True)))
    assert {result.id: result.verdict.value for result in before}.items() <= resumed.items()


@pytest.mark.experiment
def test_another_run_is_refused(tmp_path: Path) -> None:
    """An unfinished run is gone on with under its own plan only; once it is finished, resuming shows it."""
    plan = replace(plan_of("kill", tmp_path / "report"), budget=4)
    killed_plan = plan_of("kill", plan.report)
    killed(killed_plan, 3)
    with pytest.raises(UsageError, match=r"differs in budget \(30, not 4\)"):
        run(replace(plan, resume=True))
    with pytest.raises(UsageError, match="differs in seed"):
        run(replace(killed_plan, seed=1, resume=True))
    shutil.rmtree(plan.report / "resume")  # Nothing to go on from: it begins.
    first = run(replace(plan, resume=True))
    written = (plan.report / "results.jsonl").stat().st_mtime_ns
    again = run(replace(plan, resume=True))
    assert verdicts(again) == verdicts(first)
    assert (plan.report / "results.jsonl").stat().st_mtime_ns == written
    with pytest.raises(UsageError, match="finished report of another run: its seed was 0, not 1"):
        run(replace(plan, seed=1, resume=True))
