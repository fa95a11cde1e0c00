"""The target that switches logs and sets options: its contract by cases, and an undisturbed life."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.systems.reference.switched import SwitchContract, SwitchedEngine
from crashmatrix.scenarios.target.journal import Event, Item, Journal, Promises
from tests.scenarios.experiments import power_of, run_kill

CREATED: list[Item] = [["create", "a", True], ["ingest", "a", 1]]

CASES: list[tuple[list[Item], list[Item], str]] = [
    ([["switch", "a", False]], [["create", "a", False], ["ingest", "a", 1]], ""),
    ([["switch", "a", False]], CREATED, "corrupt"),
    ([["truncate", "a"]], [["create", "a", True]], ""),
    ([["truncate", "a"]], CREATED, "phantom"),
    ([["drop", "a"]], [], ""),
    ([["ingest", "a", 2]], CREATED, "loses"),
    ([["option", "memory_bytes_max", 7]], [["option", "memory_bytes_max", 7], *CREATED], ""),
    ([["option", "memory_bytes_max", 7]], CREATED, "loses"),
]
"""Acknowledged operations on a table with one batch; the recovered items; whether the promise is kept."""


@pytest.mark.parametrize(("done", "recovered", "verdict"), CASES)
def test_acknowledged_operations(done: list[Item], recovered: list[Item], verdict: str) -> None:
    """An operation that was acknowledged has taken effect; one in flight may have."""
    attempted = [Event("attempt", item) for item in done]
    acknowledged = [Event("ack", item) for item in done]
    found = SwitchContract().check(Promises(tuple(CREATED), (*attempted, *acknowledged)), recovered)
    assert bool(found) == bool(verdict)
    in_flight = Promises(tuple(CREATED), tuple(attempted))
    assert not SwitchContract().check(in_flight, CREATED)
    assert not (SwitchContract().check(in_flight, recovered) and not verdict)


def test_an_undisturbed_life(tmp_path: Path) -> None:
    """The whole script, a recovery, and a second life: everything acknowledged is there."""
    system, root, journal = SwitchedEngine(), tmp_path / "root", tmp_path / "journal"
    system.workspace = tmp_path
    root.mkdir()
    initial = tuple(system.prepare(root))
    system.workload(root, Journal(journal))
    recovered = system.recover(root)
    promises = Promises.parse(journal.read_bytes(), initial)
    assert not SwitchContract().check(promises, recovered)
    system.verify(root, promises)
    assert SwitchContract().check(promises, recovered[:-1])


TARGETS = ["reference:switched", "reference:compressed"]
"""The second is the first with another script."""


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_killed(target: str, tmp_path: Path) -> None:
    """Every failpoint of what the target is for is hit, and every scenario is safe."""
    experiment = run_kill(target, budget=20, report=tmp_path / "report")
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["failpoints_never_hit"] == []


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS)
def test_power_cut(target: str, tmp_path: Path) -> None:
    """Nothing that was switched, set or committed is lost in a power cut, under the weakest filesystem that there may be."""
    plan = Plan(target=target, filesystems=("posix",), budget=60, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
