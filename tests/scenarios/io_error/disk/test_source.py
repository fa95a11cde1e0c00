"""Disks that fail under a real filesystem: a store that believes a second sync is found out, one that stops is safe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.replay import replay
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import FULL, WRITE, RequestFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_experiment import SYSTEMS, run

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.usefixtures("disk"),
    pytest.mark.experiment,
]

EACH_DAY = [pytest.param("ext4"), *(pytest.param(name, marks=pytest.mark.slow) for name in ("xfs", "btrfs"))]


def on_disk(tmp_path: Path, name: str, budget: int, filesystem: str) -> list[ScenarioResult]:
    """Run the experiment with a disk; returns the results on the disk."""
    campaign = run(tmp_path, name, budget=budget, filesystems=(filesystem,), filesystems_named=True)
    details = campaign.summary.experiments["io-error"].details
    assert details["fired"] == details["faults"]
    assert details["disks"][filesystem]["untouched"] in (True, None)
    return [result for result in campaign.results if result.fault.startswith(f"{filesystem}:")]


@pytest.mark.parametrize("filesystem", EACH_DAY)
def test_a_second_sync_is_not_believed(tmp_path: Path, filesystem: str) -> None:
    """The kernel has marked the page clean: a store that retries fsync loses the record once the disk is mounted again."""
    results = on_disk(tmp_path, "RetriesSync", 60, filesystem)
    lost = [result for result in results if result.verdict is Verdict.LOSES]
    assert {result.method for result in lost} & {"remounted", "cut-later"}
    assert all(re.search("disk-(write|flush)", result.point) for result in lost)
    again = replay(lost[0].id, tmp_path / "report", tmp_path / "kept").checked
    assert again.verdict in (lost[0].verdict, Verdict.SAFE)  # A kernel does not make the same requests each time.
    assert (tmp_path / "kept" / "journal").exists()


@pytest.mark.parametrize("filesystem", [pytest.param(name.values[0], marks=pytest.mark.slow) for name in EACH_DAY])
def test_a_right_store_is_safe(tmp_path: Path, filesystem: str) -> None:
    """Each request of the disk fails; each ending is there, and safe."""
    results = on_disk(tmp_path, "Log", 200, filesystem)
    assert {result.verdict for result in results} == {Verdict.SAFE}
    assert {result.method for result in results} == {"killed", "remounted", "cut", "cut-later", "reopened", "resumed"}
    assert {"disk-full", "disk-small"} <= {result.fault.partition(":")[2].partition("@")[0] for result in results}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "filesystem"),
    # An xfs that cannot read its own blocks shuts down, so the wrong store stores nothing more there.
    [("ColdLogTakenForEmpty", "ext4"), ("ColdLog", "ext4"), ("ColdLog", "xfs"), ("ColdLog", "btrfs")],
)
def test_the_disk_fails_a_read(tmp_path: Path, name: str, filesystem: str) -> None:
    """A store that takes a log that it cannot read for an empty one loses what was there; one that gives up is safe."""
    reads = [result for result in on_disk(tmp_path, name, 200, filesystem) if "disk-read" in result.point]
    assert reads
    assert any(result.verdict.broken for result in reads) == (name == "ColdLogTakenForEmpty")


@pytest.mark.slow
def test_a_call_fails_and_then_the_power(tmp_path: Path) -> None:
    """On `posix`, which needs no root: a store that goes on although its folder could not be synced loses the file."""
    results = on_disk(tmp_path, "IgnoresFolderSync", 80, "posix")
    lost = [result for result in results if result.verdict is Verdict.LOSES]
    assert {result.method for result in lost} == {"cut-later"}
    assert all("on-disk.fsync" in result.point for result in lost if "once" in result.point)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Mapped", "MappedWithRoom"])
def test_a_store_to_a_mapped_file_on_a_full_disk(tmp_path: Path, name: str) -> None:
    """It is a SIGBUS, which a system that is to recover from a full disk must not die by. One with room allocated does not."""
    campaign = run(tmp_path, name, budget=60, filesystems=("ext4",), filesystems_named=True)
    full = [result for result in campaign.results if "disk-full" in result.fault]
    broken = {result.explanation.partition(" when")[0] for result in full if result.verdict.broken}
    assert full
    assert broken == ({"its process died by SIGBUS"} if name == "Mapped" else set())
    notes = campaign.summary.experiments["io-error"].details["notes"]
    assert any("the workload died by SIGBUS" in note for note in notes) == (name == "Mapped")


def test_a_run_that_needs_less_room_gets_less(tmp_path: Path) -> None:
    """No two runs need the same room. A disk that a run does not fill is made smaller, so that the fault fires.

    A request that it does not make is replaced by the last one, and counted.
    """
    plan = Plan(
        target=f"{SYSTEMS}:Log", experiments=("io-error",), filesystems=("ext4",), filesystems_named=True,
        report=tmp_path / "report",
    )  # fmt: skip
    with workbench(plan) as (checker, _):
        source = DiskSource(checker, plan.experiment_options, "ext4", [])
        enough = RequestFault("ext4", FULL, (source.base.room_bytes >> 10) + 1, "ENOSPC", "on")
        ((tried, run_of_it, _),) = source.run([enough])
        planned_late = RequestFault("ext4", WRITE, 10_000, "EIO", "once")
        assert source.replaced == 0
        ((last, _, _),) = source.run([planned_late])
    assert run_of_it.fired
    assert tried.number < enough.number
    assert (last.number < planned_late.number, source.replaced) == (True, 1)
