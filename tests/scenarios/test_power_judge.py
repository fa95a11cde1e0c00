"""One judge, one trace: what it spares itself changes no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports import Verdict
from scenarios import power_judge
from scenarios.campaign import Plan, workbench
from scenarios.power_account import Judged
from scenarios.recordings import Recordings

TOYS = "tests.scenarios.toy_systems"


def judged(target: str, report: Path, verified: frozenset[int]) -> list[Judged]:
    """All that one judge says of a recording on the weakest filesystem."""
    with workbench(Plan(target=target, report=report)) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        job = checker.jobs.start(power_judge.judge, checker.target, recording, 0, 1, 200, verified, seconds_max=60.0)
        found = []
        while (message := job.next_message()) is not None:
            found.append(message)
        assert job.ended is not None and job.ended.returned, job.ended
    return found


@pytest.mark.parametrize("verified", [frozenset(), frozenset(range(100))], ids=["verifies", "spares itself that"])
def test_a_folder_met_before_is_judged_by_what_was_promised_since(verified: frozenset[int], tmp_path: Path) -> None:
    """One folder, recovered once, keeps the promises made by the first cut and breaks those made by the last."""
    found = judged(f"{TOYS}:Unsynced", tmp_path / "report", verified)
    safe = {one.digest: one for one in found if one.verdict is Verdict.SAFE}
    broken = [one for one in found if one.verdict is Verdict.LOSES]
    again = [one for one in broken if one.digest in safe]
    assert again
    assert all(one.events > safe[one.digest].events for one in again)
