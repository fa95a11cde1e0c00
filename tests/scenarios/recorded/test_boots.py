"""The boot id after a power cut is another one than before; after a kill it is the same."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.judge import load_alone
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.recorded.boots import boot_after
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.recorded.state_verdict import Judged
from crashmatrix.scenarios.systems.loading import Target
from tests.processes import value
from tests.scenarios.toy_systems import Synced

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NotesItsBoot(Synced):
    """Recovery refuses a folder of another boot."""

    def put(self, root: Path, item: int) -> None:
        (root / "boot").write_text(BOOT_ID.read_text())
        super().put(root, item)

    def recover(self, root: Path) -> Sequence[int]:
        boot = root / "boot"
        if boot.exists() and boot.read_text() not in ("", BOOT_ID.read_text()):
            raise AssertionError("the machine was started anew")
        return [int(item) for item in super().recover(root)]


def test_each_recording_has_an_id_of_its_own() -> None:
    """It has the form of the kernel's, and is the same each time."""
    ids = [boot_after(name) for name in ("ext4~none~0", "ext4~none~1", "ext4~none~0")]
    assert ids[0] == ids[2] != ids[1]
    assert all(str(uuid.UUID(each)) == each for each in ids)


def clean_end(_: Channel, target: Target, recording: Recording) -> Judged:
    with StateJudge(target, recording, load_alone(recording), frozenset()) as judge:
        return next(judge.all(0, 1, 1))


@pytest.mark.usefixtures("fuse")
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_a_power_cut_starts_the_machine_anew(tmp_path: Path) -> None:
    """Recovery sees another id than the workload, even at the orderly end of a recording."""
    with workbench(Plan(target=f"{__name__}:NotesItsBoot", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 1, []).record("posix", "none")
        end = value(checker.jobs.run(clean_end, checker.target, recording, seconds_max=250.0))
    assert end.verdict is Verdict.CANNOT_OPEN
    assert "the machine was started anew" in end.explanation


@pytest.mark.experiment
def test_a_kill_does_not(tmp_path: Path) -> None:
    """After a kill, recovery sees the same id."""
    killed = Campaign(
        Plan(target=f"{__name__}:NotesItsBoot", experiments=("kill",), budget=6, report=tmp_path / "report")
    )
    killed.run()
    assert {result.verdict.value for result in killed.results} == {"safe"}
