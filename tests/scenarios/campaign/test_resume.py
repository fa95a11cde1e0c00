"""A run that was killed goes on in its report directory: the same plan, ids and verdicts, and nothing judged twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ExperimentSummary, ReportWriter, RunSummary, ScenarioResult, Verdict, read_results
from crashmatrix.reports.folder import Folder
from crashmatrix.reports.unfinished.ledger import Ledger, Synced
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.resume import described, difference, finished_report, refuse_other_run, require
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import Listener
from crashmatrix.scenarios.judging.tasks.memory import Memory
from tests.scenarios.command_line import CRASHMATRIX

STORE = f"{Path(__file__).parents[1] / 'resumed_store.py'}:Store"
RESULT = ScenarioResult(
    id="kill:a@1", experiment="kill", point="a", hit=1, depth=0, method="snapshot", fault="", verdict=Verdict.SAFE
)
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
        "from crashmatrix.scenarios.shards import Shard; "
        f"Campaign({plan!r}, Killing({results}, {stage!r})).run()"
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


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"budget": 4}, "budget (30, not 4)"),
        ({"budget": None}, "budget (30, not the default)"),
        ({"seed": 1}, "seed (0, not 1)"),
        ({"experiments": ()}, "experiments (['kill'], not [])"),
        ({"target": __file__}, "target"),
        ({"filesystems_named": True}, "filesystems_named (False, not True)"),
    ],
)
def test_another_run_is_refused(changes: dict[str, Any], differs: str, tmp_path: Path) -> None:
    """An unfinished run is gone on with under its own plan only, and a finished one shown under no other."""
    plan = plan_of("kill", tmp_path / "report")
    with ReportWriter(plan.report) as writer:
        described = refuse_other_run(plan, writer.ledger)
        writer.add(RESULT)
    with ReportWriter(plan.report, resume=True) as writer:
        refuse_other_run(replace(plan, workers=7, resume=True, cluster="local:2"), writer.ledger)
        with pytest.raises(UsageError, match=f"differs in {re.escape(differs)}"):
            refuse_other_run(replace(plan, **changes), writer.ledger)
        writer.finish(finished(plan, described), [RESULT])
    assert finished_report(replace(plan, workers=7, resume=True, cluster="local:2", seconds_max=9)) is not None
    with pytest.raises(UsageError, match=f"another run, which differs in {re.escape(differs)}"):
        finished_report(replace(plan, **changes))


def finished(plan: Plan, described: dict[str, Any]) -> RunSummary:
    part = ExperimentSummary.of([RESULT], 1.0, {})
    return RunSummary(
        target=plan.name, seed=0, options=plan.settings(), versions={}, experiments={"kill": part}, plan=described,
        chosen=["kill"],
    )  # fmt: skip


def test_a_changed_program_is_refused(tmp_path: Path) -> None:
    """An unfinished run is not gone on with by other code: the file is named, and what to do."""
    store = tmp_path / "store.py"
    store.write_text("")
    plan = replace(plan_of("kill", tmp_path / "report"), target=f"{store}:Store")
    with ReportWriter(plan.report) as writer:
        refuse_other_run(plan, writer.ledger)
        writer.add(RESULT)
    store.write_text("# changed")
    with (
        ReportWriter(plan.report, resume=True) as writer,
        pytest.raises(
            UsageError, match=r"differs in the target's files, which have changed since; .* without --resume"
        ),
    ):
        refuse_other_run(plan, writer.ledger)


def test_a_finished_run_is_shown(tmp_path: Path) -> None:
    """There is nothing to resume: the report is shown. Its verdict is by the new --require; one of an unknown plan is refused."""
    plan = plan_of("kill", tmp_path / "report")
    assert finished_report(plan) is None
    summary = finished(plan, described(plan))
    for interrupted in (True, False):
        summary.interrupted = interrupted
        with ReportWriter(plan.report) as writer:
            writer.finish(summary, [RESULT])
        assert (finished_report(plan) is None) is interrupted
    for required, verdict in (("power",), Verdict.UNKNOWN), (("kill",), Verdict.SAFE), ((), Verdict.SAFE):
        again = Campaign(replace(plan, resume=True, required=required))
        again.run()
        assert again.results == [RESULT]
        assert (again.summary.verdict, again.summary.required) == (verdict, [*required])
        assert ("power" in again.summary.not_run) is (verdict is Verdict.UNKNOWN)
    with ReportWriter(plan.report) as writer:
        writer.finish(replace(summary, plan={}), [RESULT])
    with pytest.raises(UsageError, match="does not say which plan"):
        finished_report(plan)


def test_what_was_required_is_said_anew(tmp_path: Path) -> None:
    """Reasons that have nothing to do with it stay."""
    plan = plan_of("kill", tmp_path / "report")
    summary = replace(finished(plan, {}), not_run={"power": "no /dev/fuse"})
    for names, reasons in (("power", "io-error"), 2), (("kill",), 1):
        require(summary, names)
        assert len(summary.not_run) == reasons
        assert summary.not_run["power"] == "no /dev/fuse"


def test_a_changed_module_is_another_run(tmp_path: Path) -> None:
    """Judgements of the program before count for no other, finished or not: the target's file is one of its files."""
    store, module = tmp_path / "store.py", tmp_path / "files_of_a_store.py"
    store.write_text("import files_of_a_store\n")
    module.write_text("one = 1\n")
    plan = replace(plan_of("kill", tmp_path / "report"), target=f"{store}:Store")
    with ReportWriter(plan.report) as writer:
        refuse_other_run(plan, writer.ledger)
        writer.add(RESULT)
    before = described(plan)
    module.write_text("one = 2\n")
    refused = pytest.raises(UsageError, match="differs in the target's files, which have changed")
    with ReportWriter(plan.report, resume=True) as writer:
        with refused:
            refuse_other_run(plan, writer.ledger)
        writer.finish(finished(plan, before), [RESULT])
    with refused:
        finished_report(plan)


def test_changed_rows_are_another_run(tmp_path: Path) -> None:
    """The file of --data may change under its name, or go."""
    rows = tmp_path / "rows.csv"
    plan = replace(plan_of("kill", tmp_path / "report"), options={"data": str(rows)})
    plans = [described(plan)]
    for text in ("time\n1\n", "time\n2\n"):
        rows.write_text(text)
        plans.append(described(plan))
    assert len({one["rows"] for one in plans}) == 3 and not plans[0]["rows"]
    assert difference(plans[1], plans[2]) == "the file of --data, which has changed since"
    assert difference(plans[2], described(plan)) == ""


@pytest.mark.experiment
def test_a_run_notes_its_plan(undisturbed: Callable[[str], Campaign]) -> None:
    """The report of a whole run is one that --resume shows."""
    whole = undisturbed("kill")
    again = run(replace(whole.plan, resume=True))
    assert again.summary.to_json() == json.loads(json.dumps(whole.summary.to_json()))
    assert (again.summary.chosen, again.summary.plan["experiments"]) == (["kill"], ["kill"])
