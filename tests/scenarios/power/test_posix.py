"""Power cuts on the weakest filesystem: a system that syncs all it must is safe, and a name nobody synced is found lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.faults.disk import requirements
from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.rounds import nudges_on
from tests.scenarios.experiments import power_of

pytestmark = [pytest.mark.usefixtures("fuse"), pytest.mark.experiment]


def verdicts_of(target: str, tmp_path: Path, budget: int) -> set[str]:
    """Return all verdicts among the crash states of one recording."""
    plan = Plan(target=target, budget=budget, filesystems=("posix",), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.restarts = 0
        experiment.run()
    assert sum(recording["name"] == "posix~none~0" for recording in experiment.details["recordings"]) == 1
    return {result.verdict.value for result in experiment.ordered()}


EXPECTED = [
    ("sqlite:delete-full", {"safe", "loses"}, 40),
    ("replace:fsync-dir", {"safe"}, 40),
]
EXPECTED_AT_LENGTH: list[tuple[str, set[str], int]] = [
    ("reference", {"safe"}, 15),
    ("lmdb:default", {"safe"}, 40),
    ("sqlite:wal-full", {"safe"}, 80),
    ("sqlite:delete-extra", {"safe"}, 80),
    ("sqlite:delete-normal", {"safe", "loses", "corrupt"}, 450),  # docs/posix.md says why; on ext4 it was never seen.
    ("lmdb:writemap", {"safe"}, 80),
    ("replace:none", {"safe", "loses", "corrupt"}, 300),
    ("deltalake:plain", {"safe", "loses", "cannot-open"}, 30),
]


@pytest.mark.parametrize(
    ("target", "expected", "budget"),
    [*EXPECTED, *(pytest.param(*row, marks=pytest.mark.slow) for row in EXPECTED_AT_LENGTH)],
)
def test_verdict_of_a_system(target: str, expected: set[str], budget: int, tmp_path: Path) -> None:
    """On the weakest filesystem, a system keeps what it syncs in the standard way, and loses what it leaves to the filesystem."""
    assert verdicts_of(target, tmp_path, budget) == expected


@pytest.mark.parametrize(
    ("toy", "expected"),
    [
        pytest.param("Marking", {"safe"}, marks=pytest.mark.slow),
        pytest.param("MarkingCheaply", {"safe", "cannot-open"}, marks=pytest.mark.slow),
        ("DatingCheaply", {"safe", "loses"}),
    ],
)
def test_attributes_and_times_are_lost_without_fsync(toy: str, expected: set[str], tmp_path: Path) -> None:
    """A store whose items are attributes or times of files is safe with fsync, and loses them with fdatasync."""
    assert verdicts_of(f"tests.scenarios.toy_systems:{toy}", tmp_path, 60) == expected


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("InPlace", {"safe", "cannot-open"}),
        pytest.param("Doubled", {"safe"}, marks=pytest.mark.slow),
        pytest.param("OneSector", {"safe", "cannot-open"}, marks=pytest.mark.slow),
    ],
)
def test_few_changed_sectors_of_a_large_block(store: str, expected: set[str], tmp_path: Path) -> None:
    """A block overwritten in place under one checksum is found torn, though few of its sectors change; a copy of it is safe."""
    assert verdicts_of(f"tests.scenarios.block_stores:{store}", tmp_path, 40) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no-sync-segment-name"])
def test_missing_sync_of_a_name_is_found(name: str) -> None:
    """A directory that the reference engine syncs has to be synced; `make mutants` looks for every one."""
    found = try_mutant(name)
    assert found.found is not None
    assert found.found.verdict.broken
    assert found.found.point.startswith("posix~none")


def test_nothing_is_nudged() -> None:
    """Early writes of the kernel make no difference here, so one recording suffices."""
    assert nudges_on("posix") == ("none",)
    assert len(nudges_on("ext4")) == 5
    assert not [missing for missing in requirements(("posix",)) if "loop" in missing.what]
