"""Calls that failed and whose failure is not judged in full are named."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.blind_spots import unjudged
from crashmatrix.scenarios.io_error.faults import parse_fault
from crashmatrix.scenarios.io_error.runs import prepare
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_runs import SYSTEMS


@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize(
    ("system", "fault", "named"),
    [
        ("IgnoresFolderSync", "fsync@1~EIO~once", "a failed sync of a folder;"),
        ("IgnoresFolderSync", "fsync@2~EIO~once", ""),
        ("Mapped", "fsync@1~EIO~once", "a failed msync;"),
        ("MappedAgain", "fsync@1~EIO~once", "a failed sync of stores to a mapped file;"),
        ("SyncedLog", "write@1~EIO~once", "a failed write through O_SYNC or O_DSYNC;"),
        ("Log", "write@1~EIO~once", ""),
    ],
)
def test_a_kind_of_calls_is_named(system: str, fault: str, named: str) -> None:
    """Syncs of folders and mapped files, and writes that are syncs, if they failed; nothing is said of other calls."""
    with workbench(Plan(target=f"{SYSTEMS}:{system}")) as (checker, _):
        places = prepare(checker).profile.places
    found = unjudged(places, [parse_fault(fault)])
    assert named in found and bool(found) == bool(named)
