"""The boot id after a power cut is another one than before; after a kill it is the same."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.power.results import CLEAN_END
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.recorded.boots import boot_after
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


@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_a_power_cut_starts_the_machine_anew(tmp_path: Path) -> None:
    """Recovery sees another id than the workload, even at the orderly end of a recording; after a kill it sees the same."""
    target, report = f"{__name__}:NotesItsBoot", tmp_path / "report"
    killed = Campaign(Plan(target=target, experiments=("kill",), budget=30, report=report))
    killed.run()
    assert {result.verdict.value for result in killed.results} == {"safe"}
    cut = Campaign(Plan(target=target, experiments=("power",), filesystems=("posix",), budget=4, report=report))
    cut.run()
    (end,) = [result for result in cut.results if result.method == CLEAN_END and "none~0:" in result.id]
    assert end.verdict is Verdict.CANNOT_OPEN
    assert "the machine was started anew" in end.explanation
