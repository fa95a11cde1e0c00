"""Makes the kept recordings anew: `python -m tests.kept [NAME...]`."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from crashmatrix.faults.disk import RecordOptions, Trace, load_trace, record, save_trace
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.schedule import Recordings
from tests.faults.disk.block import test_naming
from tests.faults.disk.block.ext4 import test_outcomes
from tests.kept import FOLDER


def of_target(name: str, nudge: str) -> Trace:
    """Record a target as the power experiment records a small store."""
    with (
        tempfile.TemporaryDirectory() as report,
        workbench(Plan(target=f"tests.scenarios.toy_systems:{name}", report=Path(report))) as (checker, _),
    ):
        recordings = Recordings(checker.jobs, checker.target, checker.folder(), 1, [])
        return load_trace(recordings.record("ext4", nudge).trace)


def named() -> Trace:
    return record(test_naming.work, options=RecordOptions(seed=1))


MAKERS: dict[str, Callable[[], Trace]] = {
    "mostly-mixed": lambda: of_target("SyncedMostly", "mixed"),
    "synced-none": lambda: of_target("Synced", "none"),
    "named": named,
    **{name: partial(test_outcomes.recorded, *how) for name, how in test_outcomes.KEPT.items()},
}


def main(names: list[str]) -> None:
    for name in names or MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "trace"
            save_trace(replace(MAKERS[name](), kernel=""), made)
            shutil.copyfile(made, FOLDER / f"{name}.trace")


if __name__ == "__main__":
    main(sys.argv[1:])
