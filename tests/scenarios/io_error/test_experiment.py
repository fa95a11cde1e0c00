"""The io-error experiment as a whole: wrong stores are found out, right ones are safe, and each scenario can be reproduced."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.replay import replay
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.experiment import IO_ERROR
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.shards import Shard

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

SYSTEMS = Path(__file__).parents[1] / "error_systems.py"


def run(tmp_path: Path, name: str, **changes: object) -> Campaign:
    """Run the experiment on a store of `error_systems`."""
    plan = Plan(target=f"{SYSTEMS}:{name}", experiments=("io-error",), report=tmp_path / "report", **changes)  # type: ignore[arg-type]
    campaign = Campaign(plan)
    campaign.run()
    return campaign


WRONG = {
    "IgnoresShortWrites": ("loses", "short"),
    "Swallows": ("loses", "write"),
    "AppendsBehind": ("loses", "write short"),
    "ResumesBehind": ("loses", "write short"),
    "RemovesOnError": ("loses", "write"),
    "LeavesLock": ("cannot-open", ""),
    "Spins": ("hangs", "write"),
    "RetriesSync": ("loses", "fsync"),
    "SwallowsAtFailpoint": ("loses", "failpoint"),
    "StaysFull": ("cannot-open", "ENOSPC|EDQUOT"),
    "ReadErrorIsEmpty": ("hole", "read"),
}
EACH_DAY = {"SwallowsAtFailpoint", "StaysFull"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in EACH_DAY else [pytest.mark.slow]) for name in WRONG]
)
def test_a_wrong_store_is_found_out(tmp_path: Path, name: str) -> None:
    """Each mistake in handling errors breaks the promise that it is about, at the faults that it is about."""
    verdict, about = WRONG[name]
    campaign = run(tmp_path, name, budget=120)
    broken = [result for result in campaign.results if result.verdict.broken]
    assert verdict in {result.verdict for result in broken}
    assert all(re.search(about, result.point) for result in broken if result.verdict == verdict), broken
    assert all(finding.cause and finding.timeline for finding in campaign.summary.findings)


@pytest.mark.parametrize(
    "name",
    [
        "RaisesAtFailpoint",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("Log", "GoesOn", "ComesBack", "ReadsBack", "ColdLog", "ReadsAreLeftAlone")
        ),
    ],
)
def test_a_right_store_is_safe(tmp_path: Path, name: str) -> None:
    """A store that handles errors is safe after each fault, every fault fires, and the sweep ends untouched."""
    campaign = run(tmp_path, name)
    details = campaign.summary.experiments["io-error"].details
    assert Counter(result.verdict for result in campaign.results).keys() == {Verdict.SAFE}
    assert details["untouched"]
    assert details["fired"] == details["faults"] > details["runs"]
    assert {result.method for result in campaign.results} >= {"killed", "reopened", "resumed"}
    assert (details["carried_on"] > details["faults"] / 3) == (name not in ("RaisesAtFailpoint", "Log"))
    assert ("read" in details["calls"]) == (name in ("ReadsBack", "ColdLog"))


def test_a_scenario_is_reproduced(tmp_path: Path) -> None:
    """A finding replays by its id, with the same verdict, and its crashed folder can be kept."""
    campaign = run(tmp_path, "Swallows", budget=12)
    broken = next(result for result in campaign.results if result.verdict.broken)
    replayed = replay(broken.id, tmp_path / "report", tmp_path / "kept")
    assert replayed.checked.verdict is broken.verdict
    assert replayed.checked.explanation == broken.explanation
    assert (tmp_path / "kept" / "journal").read_text()
    assert (tmp_path / "kept" / "crashed").is_dir()


def test_a_fault_that_no_call_meets_is_refused(tmp_path: Path) -> None:
    """A replay of a call that is neither in the report nor made names a fault that is."""
    campaign = run(tmp_path, "Log", budget=1)
    near = "|".join(re.escape(result.id) for result in campaign.results)
    with pytest.raises(UsageError, match=f"has no scenario 'io-error:write@99~.*the nearest that it has is ({near})"):
        replay("io-error:write@99~EIO~once~reopened", tmp_path / "report", None)


def test_planned_faults_that_no_run_reaches_are_counted(tmp_path: Path) -> None:
    """The last call of their class fails in their place, so each fault fires; a note says how many were not tried."""
    campaign = run(tmp_path, "StoresLessLater", budget=24)
    details = campaign.summary.experiments["io-error"].details
    assert details["faults"] == details["fired"] == 24
    assert 0 < details["replaced"] < 24
    assert {result.hit for result in campaign.results if result.fault.startswith("write")} == {1, 2}
    said = next(note for note in details["notes"] if "not be reached" in note)
    assert said.startswith(f"{details['replaced']} planned faults could not be reached")


def test_a_store_that_changes_nothing_is_unknown(tmp_path: Path) -> None:
    """Without a call that could fail there is no verdict."""
    campaign = run(tmp_path, "Idle")
    assert [result.verdict for result in campaign.results] == [Verdict.UNKNOWN]
    assert "no call of it could fail" in campaign.results[0].explanation


@pytest.mark.slow
def test_shards_add_up(tmp_path: Path) -> None:
    """Two shards run all faults of the whole, none twice, with the same verdicts."""
    whole = {result.id: result.verdict for result in run(tmp_path, "Swallows", budget=16).results}
    parts = [
        {result.id: result.verdict for result in run(tmp_path, "Swallows", budget=16, shard=Shard(part, 2)).results}
        for part in (1, 2)
    ]
    assert not parts[0].keys() & parts[1].keys()
    assert parts[0] | parts[1] == whole


def test_it_must_be_named() -> None:
    """A run that names no experiments does not include it."""
    assert not IO_ERROR.default


def test_what_was_assumed_is_said_where_it_was(tmp_path: Path) -> None:
    """The note on ending `uncached` stands in the reports that have this ending, and in no others."""
    for name in ("Log", "Idle"):
        campaign = run(tmp_path / name, name, budget=12)
        notes = campaign.summary.experiments["io-error"].details["notes"]
        uncached = {result.method for result in campaign.results} & {"uncached"}
        assert any("ending uncached" in note for note in notes) == bool(uncached), name
        assert bool(uncached) == (name == "Log")
