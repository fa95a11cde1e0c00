"""ModelarDB's log as published breaks promises in these ways, each by itself; without them it keeps all."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.kill.plan import parse_id
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.kill.real_kills import crash
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.systems.modelardb.log import FLAWS
from tests.scenarios.experiments import kill_of, power_of

RESUMED = "+workload.resumed@1+workload.end@1"
RESUMED_HOLE = "after it was resumed: acknowledged, but gone: 32 (of "
RESUMED_LOSES = "after it was resumed: the points of batch 30 came back 0 to 1 times"

FOUND = [
    ("376", "journal.after_attempt@18", "loses", "acknowledged, but gone: 16 (of 17 acknowledged)"),
    ("forgotten-id", "journal.after_attempt@18", "loses", "acknowledged, but gone: 16 (of 17 acknowledged)"),
    ("389", "journal.after_attempt@18", "safe", ""),
    ("older-segment", f"journal.after_attempt@30{RESUMED}", "hole", RESUMED_HOLE),
    ("older-segment", "journal.after_attempt@6", "safe", ""),
    ("lost-leftover", f"modelardb.open.leftover_gone@2{RESUMED}", "hole", RESUMED_HOLE),
    ("lost-leftover", "modelardb.open.leftover_gone@2", "safe", ""),
    ("389", f"modelardb.open.leftover_gone@2{RESUMED}", "loses", RESUMED_LOSES),
    ("fixed", f"modelardb.open.leftover_gone@2{RESUMED}", "safe", ""),
    ("389", "journal.after_ack@5", "loses", "the points of batch 0 came back 0 to 1 times"),
    ("split-batch", "journal.after_ack@5", "loses", "the points of batch 0 came back 0 to 1 times"),
    ("389", "modelardb.segment.created@2", "cannot-open", "Tried reading schema message"),
    ("header", "modelardb.segment.created@2", "cannot-open", "Tried reading schema message"),
    ("389", "modelardb.append.between_writes@1", "cannot-open", "metadata bytes, but only read"),
    ("torn-tail", "modelardb.append.between_writes@1", "cannot-open", "metadata bytes, but only read"),
    ("shifted-id", "journal.after_ack@8", "loses", "acknowledged, but gone: 7 (of 8 acknowledged)"),
]


@pytest.mark.daily(5)
@pytest.mark.experiment
@pytest.mark.parametrize(("target", "scenario", "verdict", "explanation"), FOUND)
def test_finding(target: str, scenario: str, verdict: str, explanation: str) -> None:
    """A real SIGKILL there has the consequence that the case study names."""
    plan = Plan(target=f"modelardb:{target}")
    with workbench(plan) as (checker, _):
        state = crash(checker, prepare(checker), parse_id(f"kill:{scenario}"), checker.folder())
        assert isinstance(state, CrashState), state
        checked: Checked = checker.check(state)
    assert (checked.verdict.value, explanation in checked.explanation) == (verdict, True), checked.explanation


@pytest.mark.slow
@pytest.mark.experiment
def test_fixed_log_is_safe_under_kill() -> None:
    """The port without the flaws is safe, so that what it does with one is the flaw's doing."""
    plan = Plan(target="modelardb:fixed", budget=50)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.run()
    assert {result.verdict.value for result in experiment.ordered()} == {"safe"}


POWER = [
    ("fixed", 150, {"safe"}),
    ("unsynced-commit", 300, {"loses", "hole", "cannot-open"}),
    ("header", 300, {"cannot-open"}),
    ("no-folder-sync", 50, {"safe"}),  # on ext4, where a sync of a file makes every earlier name durable
]


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("target", "budget", "expected"), POWER)
def test_power(target: str, budget: int, expected: set[str], tmp_path: Path) -> None:
    """Power cuts on ext4 give the log of each flaw its expected verdicts."""
    plan = Plan(target=f"modelardb:{target}", budget=budget, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker, until_broken=True, keep_evidence=False)
        experiment.run()
    found = {result.verdict.value for result in experiment.ordered()}
    assert found - {"safe"} <= expected
    assert found & expected


def test_every_flaw_is_a_target() -> None:
    """The log as merged has every flaw of its own, the log with the fix all but one, the server at main all that are left;
    each flaw is also a target by itself."""
    merged, fixed, main = (BUILT_IN[f"modelardb:{name}"].options["flaws"] for name in ("376", "389", "tables"))
    assert (merged[1:], (*fixed, *main[len(fixed) :])) == (fixed, main)
    assert {*merged, *main} == set(FLAWS)
    for flaw in FLAWS:
        own = BUILT_IN[f"modelardb:{flaw}"].options["flaws"]
        assert own == (("older-segment", "split-batch") if flaw == "older-segment" else (flaw,))
