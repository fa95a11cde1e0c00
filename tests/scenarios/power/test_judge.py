"""Single jobs of the judges: one state, a recording's end, a folder that cannot be read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Flush, Trace, Write, load_trace
from crashmatrix.faults.disk.block.base import BaseDisk
from crashmatrix.faults.disk.block.ext4.layout import Ext4Layout
from crashmatrix.faults.disk.block.sectors import content
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_judge import StateJudge
from crashmatrix.scenarios.recorded.state_verdict import REPEATED, VERIFIED, Check, Judged
from crashmatrix.scenarios.systems.loading import Target
from tests.kept import FOLDER
from tests.processes import value

pytestmark = [pytest.mark.usefixtures("disk"), pytest.mark.experiment]

TOYS = "tests.scenarios.toy_systems"


def judged(target: str, report: Path, checks: frozenset[Check], budget: int = 200) -> list[Judged]:
    """Every judgement of one judge on a recording, on the weakest filesystem."""
    with workbench(Plan(target=target, report=report)) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        job = checker.jobs.start(power_judge.judge, checker.target, recording, 0, 1, budget, checks, seconds_max=250.0)
        found = []
        while (message := job.next_message()) is not None:
            found.append(message)
        value(job.wait())
    return found


def kept_recording(name: str, nudge: str, folder: Path) -> Recording:
    """The recording of a kept trace, in a folder where the judge may work beside it."""
    trace = shutil.copyfile(FOLDER / f"{name}.trace", folder / "trace")
    return Recording(f"ext4~{nudge}~1", "ext4", nudge, 1, trace)


ALL_MADE = frozenset((check, lines) for check in (VERIFIED, REPEATED) for lines in range(100))


@pytest.mark.daily(1)
@pytest.mark.parametrize("checks", [frozenset(), ALL_MADE], ids=["checks further", "spares itself that"])
def test_a_folder_met_before_is_judged_by_what_was_promised_since(checks: frozenset[Check], tmp_path: Path) -> None:
    """A folder, recovered once, can keep the promises made by the first cut and break those made by the last."""
    found = judged(f"{TOYS}:Unsynced", tmp_path / "report", checks)
    safe = {one.digest: one for one in found if one.verdict is Verdict.SAFE}
    broken = [one for one in found if one.verdict is Verdict.LOSES]
    again = [one for one in broken if one.digest in safe]
    assert again
    assert all(one.events > safe[one.digest].events for one in again)


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("store", "verdict", "explanation"),
    [
        ("RepeatsOnRecovery", Verdict.DUPLICATE, "after a second recovery: came back more often than it was stored: "),
        ("Stirring", Verdict.CORRUPT, "a second recovery changed the folder: recovered-"),
    ],
)
def test_recovery_is_repeated(store: str, verdict: Verdict, explanation: str, tmp_path: Path) -> None:
    """A second recovery that differs from the first breaks a promise after a power cut, too."""
    found = judged(f"{TOYS}:{store}", tmp_path / "report", frozenset(), 20)
    wrong = [one for one in found if one.verdict is verdict]
    assert wrong
    assert all(one.explanation.startswith(explanation) for one in wrong)


def inode_sector(trace: Trace, number: int) -> int:
    """Return the byte offset, on a recorded ext4 disk, of the sector with an inode."""
    layout = Ext4Layout.read(BaseDisk(trace).block)
    assert layout
    zeros, ones = b"\0" * 4096, b"\1" * 4096
    for block in range(trace.size_bytes // 4096):
        numbers = list(layout.inodes(block, zeros, ones) or ())
        if number in numbers:
            return (block * 4096 + numbers.index(number) * 256) // 512 * 512
    raise AssertionError("no such inode")


def judge_damaged(_: Channel, target: Target, recording: Recording) -> Judged:
    """Judge what is left of an orderly end while the inode of a file in it is damaged."""
    trace = power_judge.load_alone(recording)
    clean = CrashStates(trace).clean
    with CrashImages(trace) as images, images.mounted(clean) as root:
        number = min(path.stat().st_ino for path in root.iterdir())
    place = inode_sector(trace, number)
    runs = [(at, data) for at, data in content(trace, clean) if at <= place < at + len(data)]
    whole = bytes(runs[-1][1][place - runs[-1][0] :][:512])
    damage, repair = Write(place, b"damaged." * 64), Write(place, whole)
    damaged = replace(trace, operations=(*trace.operations, Flush(), damage, Flush(), repair))
    with StateJudge(target, recording, damaged) as judge:
        return judge.judge(CrashState.whole(damaged, len(trace.operations) + 2))


def test_a_folder_that_cannot_be_read_is_the_filesystems_loss(tmp_path: Path) -> None:
    with workbench(Plan(target=f"{TOYS}:Synced", report=tmp_path / "report")) as (checker, _):
        recording = kept_recording("synced-none", "none", tmp_path)
        judged = value(checker.jobs.run(judge_damaged, checker.target, recording, seconds_max=250.0))
    assert judged.verdict is Verdict.UNMOUNTABLE
    assert "reading ROOT/data once mounted" in judged.explanation


def test_one_state_alone(tmp_path: Path) -> None:
    """A state is judged by its id, found from the orderly end, and laid out with the journal up to its cut."""
    with workbench(Plan(target=f"{TOYS}:Unsynced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        trace = load_trace(recording.trace)
        end = str(CrashStates(trace).clean)
        cut = max(at for at, _ in enumerate(trace.operations) if trace.pending(at)) + 1
        state = str(CrashState(cut, 0, (), len(trace.pending(cut))))
        keep = tmp_path / "keep"
        keep.mkdir()
        jobs: list[tuple[Any, ...]] = [
            (power_judge.judge_one, checker.target, recording, end),
            (power_judge.judge_one, checker.target, recording, state),
            (power_judge.undisturbed, checker.target, recording),
            (power_judge.keep_state, recording, end, keep),
        ]
        orderly, lost, undisturbed, _ = [value(checker.jobs.run(*job, seconds_max=250.0)) for job in jobs]
    assert (orderly.verdict, orderly.state, orderly.differs) == (Verdict.SAFE, end, False)
    assert (lost.verdict, lost.state, lost.differs) == (Verdict.LOSES, state, True)
    assert undisturbed is None
    assert {path.name for path in keep.iterdir()} == {"crashed", "image", "journal"}
    assert (keep / "journal").read_text().count("\n") == recording.events
