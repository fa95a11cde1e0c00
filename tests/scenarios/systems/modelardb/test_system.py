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
TWO_LATER = "+workload.resumed@1+journal.after_ack@2"
SPLIT = "the points of batch 0 came back 0 to 1 times"
RESUMED_SPLIT = "after it was resumed: the points of batch 30 came back 0 to 1 times"
NO_SCHEMA, CUT_SHORT = "found empty stream", "failed to fill whole buffer"

_EVERY = [
    ("376", "journal.after_attempt@18", "loses", "acknowledged, but gone: 16 (of 17 acknowledged)"),
    ("389", "journal.after_attempt@18", "safe", ""),
    ("389", f"modelardb.open.leftover_gone@2{RESUMED}", "loses", RESUMED_SPLIT),
    ("389", "modelardb.segment.created@2", "cannot-open", NO_SCHEMA),
    ("389", "modelardb.append.between_writes@1", "cannot-open", CUT_SHORT),
    ("389", "journal.after_ack@5", "loses", SPLIT),
    ("forgotten-id", "journal.after_attempt@18", "loses", "acknowledged, but gone: 16 (of 17 acknowledged)"),
    ("older-segment", "journal.after_attempt@13", "safe", ""),
    ("older-segment", f"journal.after_attempt@13{TWO_LATER}", "loses", "acknowledged, but gone: 30, 31"),
    ("lost-leftover", "modelardb.open.leftover_gone@2", "safe", ""),
    ("lost-leftover", f"modelardb.open.leftover_gone@2{RESUMED}", "loses", "acknowledged, but gone: 34"),
    ("split-batch", "journal.after_ack@5", "loses", SPLIT),
    ("header", "modelardb.segment.created@2", "cannot-open", NO_SCHEMA),
    ("torn-tail", "modelardb.append.between_writes@1", "cannot-open", CUT_SHORT),
    ("shifted-id", "journal.after_ack@8", "loses", "acknowledged, but gone: 7 (of 8 acknowledged)"),
    ("truncated-id", f"modelardb.truncate.segments_gone@1{TWO_LATER}", "loses", 'gone: ["put",900], ["put",901]'),
    ("drop-order", "modelardb.drop.half_done@1", "loses", 'gone: ["put",11], ["put",12]'),
    ("truncate-race", "journal.after_ack@10", "loses", 'gone: ["put",5]'),
    ("switched-off", "modelardb.log.switched@2", "duplicate", '["put",13], ["put",14], ["put",15]'),
    ("transfer-twice", "modelardb.transfer.sent@1", "duplicate", '["put",5], ["put",6]'),
    ("transfer-race", "journal.after_ack@16", "loses", 'gone: ["put",10]'),
    ("fixed", f"modelardb.open.leftover_gone@2{RESUMED}", "safe", ""),
    ("fixed", "journal.after_ack@5", "safe", ""),
    *[
        ("tables-fixed", scenario, "safe", "")
        for scenario in (
            f"modelardb.truncate.half_done@1{TWO_LATER}",
            "modelardb.drop.half_done@1",
            "journal.after_ack@10",
            "modelardb.log.switched@2",
            "modelardb.transfer.sent@1",
            "journal.after_ack@16",
        )
    ],
]
DAILY = {("389", "journal.after_ack@5"), ("drop-order", "modelardb.drop.half_done@1")}
FOUND = [pytest.param(*row, marks=[] if row[:2] in DAILY else pytest.mark.slow) for row in _EVERY]


@pytest.mark.daily(3)
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
@pytest.mark.parametrize("target", ["fixed", "tables-fixed"])
def test_without_flaws_it_is_safe_under_kill(target: str) -> None:
    """The port without the flaws is safe, so that what it does with one is the flaw's doing."""
    plan = Plan(target=f"modelardb:{target}", budget=50)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.run()
    assert {result.verdict.value for result in experiment.ordered()} == {"safe"}


POWER = [
    ("fixed", "ext4", 150, {"safe"}),
    ("tables-fixed", "posix", 400, {"safe"}),
    ("unsynced-commit", "ext4", 300, {"loses", "hole", "cannot-open"}),
    ("header", "ext4", 300, {"cannot-open"}),
    ("no-folder-sync", "ext4", 50, {"safe"}),  # where a sync of a file makes every earlier name durable
    ("no-folder-sync", "posix", 50, {"loses"}),
]


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("target", "filesystem", "budget", "expected"), POWER)
def test_power(target: str, filesystem: str, budget: int, expected: set[str], tmp_path: Path) -> None:
    """Power cuts give the log of each flaw its expected verdicts."""
    plan = Plan(target=f"modelardb:{target}", budget=budget, filesystems=(filesystem,), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker, until_broken=True, keep_evidence=False)
        experiment.run()
    found = {result.verdict.value for result in experiment.ordered()}
    assert found - {"safe"} <= expected
    assert found & expected


def test_every_flaw_is_a_target() -> None:
    """The log as merged has every flaw of its own, the log with the fix all but one, the server at main those that are left;
    each flaw is also a target by itself."""
    merged, fixed, main = (BUILT_IN[f"modelardb:{name}"].options["flaws"] for name in ("376", "389", "tables"))
    assert (merged[1:], (*fixed, *main[len(fixed) :])) == (fixed, main)
    assert {*merged, *main} == set(FLAWS)
    for flaw in FLAWS:
        own = BUILT_IN[f"modelardb:{flaw}"].options["flaws"]
        assert own == (("older-segment", "split-batch") if flaw == "older-segment" else (flaw,))
