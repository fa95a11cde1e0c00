"""Equal folders of different recordings, with equal promises, are judged once."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import WRITE, RequestFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_experiment import SYSTEMS

pytestmark = [pytest.mark.skipif(bool(lacking()), reason=lacking()), pytest.mark.usefixtures("disk")]


def tried(tmp_path: Path, name: str, limit: int) -> tuple[list[dict[str, Verdict]], int, int]:
    """Fail each of the first writes of a store, once and from then on, in one process.

    Returns the verdicts by ending, how many recordings were made, and how many recoveries a store made that counts them.
    """
    plan = Plan(target=f"{SYSTEMS}:{name}", experiments=("io-error",), report=tmp_path, workers=1)
    with workbench(plan) as (checker, _):
        source = DiskSource(checker, plan.experiment_options, "ext4", ())
        count = Path(checker.target.workspace) / "recoveries"
        count.write_bytes(b"")
        writes = [request.number for request in source.base.requests if request.calls == WRITE][:limit]
        faults = [RequestFault("ext4", WRITE, number, "EIO", times) for number in writes for times in ("once", "on")]
        found = list(source.run(faults))
        assert [fault for fault, _, _ in found] == faults
        verdicts = [{ending: checked.verdict for ending, (checked, _) in judged.items()} for _, _, judged in found]
        return verdicts, sum(run.recorded for _, run, _ in found), len(count.read_bytes())


def test_equal_folders_are_recovered_once(tmp_path: Path) -> None:
    """A store of three items has few folders, whichever write failed. After each kill, recovery runs once before a mount."""
    verdicts, recorded, recoveries = tried(tmp_path, "Counted", 6)
    endings = [verdict for each in verdicts for verdict in each.values()]
    killed = sum("killed" in each for each in verdicts)
    assert set(endings) == {Verdict.SAFE}
    assert len(endings) > 4 * len(verdicts) - killed
    assert recoveries - killed < len(endings) / 3
    assert recorded <= len(verdicts) + killed


def test_broken_folders_are_judged_alike(tmp_path: Path) -> None:
    """A store that believes a second sync loses its record after the first failure that shows it, and after each later one."""
    verdicts, _, _ = tried(tmp_path, "RetriesSync", 3)
    broken = [each for each in verdicts if Verdict.LOSES in each.values()]
    assert len(broken) > 1
    assert Verdict.UNKNOWN not in {verdict for each in verdicts for verdict in each.values()}
