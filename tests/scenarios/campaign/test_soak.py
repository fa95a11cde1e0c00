"""A soak runs one seed after another, lists equal findings once, and survives restarts."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from crashmatrix.reports import ReportError, ReportWriter, RunSummary, Verdict, read_report
from crashmatrix.scenarios.campaign import experiments
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.soak import Soak
from crashmatrix.scenarios.cli.init import write_target
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions, Listener
from crashmatrix.scenarios.judging.checker import Checker
from tests.scenarios.campaign.test_resume import STORE
from tests.scenarios.toy_experiment import EMPTY, Empty, EmptyExperiment

pytestmark = pytest.mark.experiment


class Stop(KeyboardInterrupt):
    """Ctrl-C after some seeds."""


def soaked(plan: Plan, seeds: int) -> Soak:
    """Soak until so many seeds were run, or the soak ends by itself."""
    lines: list[str] = []

    def said(line: str) -> None:
        lines.append(line)
        if len(lines) == seeds:
            raise Stop

    soak = Soak(plan, 3600, said)
    with contextlib.suppress(Stop):
        soak.run()
    return soak


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setitem(experiments.EXPERIMENTS, EMPTY.name, EMPTY)
    return Plan(target=STORE, experiments=("empty",), seed=5, report=tmp_path / "soak")


def test_findings_of_seeds(plan: Plan) -> None:
    """Each kind of finding has its seeds and the report of the first; a restart goes on with the next seed."""
    soaked(plan, 1)
    state = soaked(plan, 1).state
    assert (state.seed, state.seeds_done) == (7, 2)
    assert state.verdict.broken
    assert state.findings
    assert all(finding.seeds == [5, 6] and finding.report == "seed-5" for finding in state.findings.values())
    assert sorted(path.name for path in plan.report.iterdir()) == ["run.lock", "seed-5", "soak.json"]
    assert read_report(plan.report / "seed-5")[0].seed == 5
    with pytest.raises(UsageError, match="differs in budget"):
        soaked(replace(plan, budget=1), 1)
    with pytest.raises(UsageError, match="differs in target"):
        soaked(replace(plan, target=f"{__file__}:Store"), 1)


def test_a_changed_store_is_another_soak(plan: Plan, tmp_path: Path) -> None:
    """Seeds of the store before count for no other, even if none was interrupted."""
    store = tmp_path / "store.py"
    for text, refused in ("one = 1\n", False), ("one = 2\n", True):
        store.write_text(text)
        with pytest.raises(UsageError, match="differs in the target's files") if refused else contextlib.nullcontext():
            Soak(replace(plan, target=f"{store}:Store"), 0.0, print).run()


def test_only_reports_of_seeds_are_removed(plan: Plan) -> None:
    """All else in the directory stays, whatever its name: it need not be ours."""
    state = Soak(plan, 0.0, print).run()
    state.seed, state.seeds_done = 8, 4
    (plan.report / "soak.json").write_bytes(msgspec.json.encode(state))
    for seed in range(5, 9):
        with ReportWriter(plan.report / f"seed-{seed}") as writer:
            writer.finish(RunSummary(target=STORE, seed=seed, options={}, versions={}), [])
    (plan.report / "seed-6" / "notes.txt").write_text("why it is slow")
    for name in ("seed-2-keep", "seed-data", "seed-1"):
        (plan.report / name).mkdir()
        (plan.report / name / "rows.csv").write_text("1,2")
    (plan.report / "seed-4").symlink_to("seed-data")
    before = {path.name for path in plan.report.iterdir()}
    Soak(plan, 0.0, print).run()
    assert before - {path.name for path in plan.report.iterdir()} == {"seed-5", "seed-7"}
    assert (plan.report / "seed-data" / "rows.csv").exists()


class WaitingExperiment(EmptyExperiment):
    """It judges one place, and then waits for the end of its time."""

    def run(self) -> None:
        self.options = replace(self.options, budget=1)
        super().run()
        threading.Event().wait()


class Waiting(Empty):
    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> EmptyExperiment:
        return WaitingExperiment(checker, options, listener or Listener())


@pytest.mark.parametrize("until_broken", [False, True])
def test_a_seed_that_was_cut_off_is_not_counted(
    until_broken: bool, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had the rest of the time, and is neither done nor judged: only seeds that came to their end are."""
    plan = replace(plan, budget=1, until_broken=until_broken)
    before = soaked(plan, 1).state
    monkeypatch.setitem(experiments.EXPERIMENTS, EMPTY.name, Waiting())
    lines: list[str] = []
    state = Soak(plan, before.seconds + 4, lines.append).run()
    assert [line.partition(",")[0] for line in lines] == ["seed 6: not finished"]
    assert (state.seeds_done, state.scenarios, state.begun, state.seed) == (1, 1, True, 6)


def test_no_time_to_set_up_once_more(tmp_path: Path, plan: Plan) -> None:
    """The time may end while the target is set up: then the soak has what it had."""
    store, target = write_target(str(tmp_path / "store.py"), None)
    slow = '        while os.path.exists(os.path.join(os.path.dirname(__file__), "slow")):\n            pass\n'
    store.write_text(f"{store.read_text()}\n    def setup(self):\n{slow}")
    plan = replace(plan, target=target, budget=1)
    before = soaked(plan, 1).state
    (tmp_path / "slow").touch()
    state = Soak(plan, before.seconds + 0.1, lambda _: None).run()
    assert (state.seeds_done, state.begun, state.verdict) == (1, True, Verdict.SAFE)


@pytest.mark.slow
def test_until_broken(plan: Plan) -> None:
    """It ends at the first broken promise, and so does a restart."""
    plan = replace(plan, until_broken=True)
    for _ in range(2):
        state = soaked(plan, 9).state
        assert state.seeds_done == 1
        assert state.verdict.broken


@pytest.mark.slow
def test_safe_seeds_leave_no_report(plan: Plan) -> None:
    """The report of a seed without a new finding is removed; a seed that is cut short goes on after a restart."""
    plan = replace(plan, budget=1)
    state = soaked(plan, 2).state
    assert (state.verdict, state.scenarios, state.findings) == (Verdict.SAFE, 2, {})
    assert sorted(path.name for path in plan.report.iterdir()) == ["run.lock", "soak.json"]


def test_a_folder_of_something_else_is_refused(plan: Plan) -> None:
    """Nothing is written among the files of others."""
    plan.report.mkdir()
    (plan.report / "thesis.txt").write_text("x")
    with pytest.raises(ReportError, match="holds something else"):
        soaked(plan, 1)
    assert [path.name for path in plan.report.iterdir()] == ["thesis.txt"]
