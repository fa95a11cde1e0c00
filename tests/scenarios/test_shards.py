"""Sharded runs: the parts are the whole, each once, and no part speaks for another."""

import json
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict, read_report
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.shards import WHOLE, Shard
from tests.scenarios.cli.test_commands import KILL, TOYS
from tests.scenarios.command_line import crashmatrix


@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("count", [0, 1, 6, 13])
def test_parts_are_the_whole(of: int, count: int) -> None:
    """Blocks, and dealt shares, hold every item once; blocks keep neighbours together, dealt shares are even."""
    items = list(range(count))
    shards = [Shard(number, of) for number in range(1, of + 1)]
    blocks, dealt = ([kind(shard, items) for shard in shards] for kind in (Shard.block, Shard.deal))
    assert [item for block in blocks for item in block] == items
    assert sorted(item for share in dealt for item in share) == items
    for parts in (blocks, dealt):
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3", " 1/2"])
def test_no_shard(text: str) -> None:
    """Text that is not a shard is refused with the syntax of a shard."""
    with pytest.raises(UsageError, match="--shard I/N"):
        Shard.parse(text)


def first_crashes(directory: Path) -> dict[str, Verdict]:
    """The scenarios that crash the workload only, in the order of the plan, with their verdicts."""
    return {result.id: result.verdict for result in read_report(directory)[1] if result.depth == 0}


def run(target: str, report: Path, shard: Shard = WHOLE) -> None:
    Campaign(Plan(target=target, experiments=("kill",), shard=shard, report=report)).run()


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.parametrize(("toy", "status"), [("Store", 0), ("ForgetsOnRecovery", 1)])
def test_kill_shards_merge_into_the_whole(toy: str, status: int, tmp_path: Path) -> None:
    """Shards merged say what one run says: the same scenarios, verdicts and exit status; without one, unknown."""
    run(f"{TOYS}:{toy}", tmp_path / "whole")
    for number in (1, 2):
        run(f"{TOYS}:{toy}", tmp_path / f"s{number}", Shard(number, 2))
        assert read_report(tmp_path / f"s{number}")[0].shard == f"{number}/2"
    parts = [list(first_crashes(tmp_path / f"s{number}")) for number in (1, 2)]
    assert parts[0] + parts[1] == list(first_crashes(tmp_path / "whole"))  # Each once: nobody ran another's part.
    merged = crashmatrix("merge", "merged", "s2", "s1", cwd=tmp_path)
    assert merged.returncode == status, merged.stdout + merged.stderr
    assert list(first_crashes(tmp_path / "merged").items()) == list(first_crashes(tmp_path / "whole").items())
    (summary, results), (whole, _) = read_report(tmp_path / "merged"), read_report(tmp_path / "whole")
    kill, expected = summary.experiments["kill"], whole.experiments["kill"]
    assert kill.scenarios == len({result.id for result in results}) == len(results)
    assert kill.details["failpoints_never_hit"] == expected.details["failpoints_never_hit"]
    assert kill.details["plan"] == expected.details["plan"]
    assert crashmatrix("diff", "whole", "merged", cwd=tmp_path).returncode == 0
    part = crashmatrix("merge", "part", "s1", "missing", cwd=tmp_path)
    assert part.returncode == (status or 3)
    assert "no finished report in missing" in part.stderr
    assert read_report(tmp_path / "part")[0].missing_shards == ["2/2"]
    lost = crashmatrix("diff", "whole", "part", cwd=tmp_path)
    assert lost.returncode == 1
    assert "coverage lost: shard 2/2 is missing" in lost.stdout


@pytest.mark.experiment
def test_more_shards_than_crashes(tmp_path: Path) -> None:
    """A shard with nothing to run says nothing, and leaves a report that can be merged."""
    shard = crashmatrix("run", f"{TOYS}:Store", *KILL, "--shard", "20/1000", cwd=tmp_path)
    assert shard.returncode == 3, shard.stderr
    assert "this is shard 20/1000" in shard.stdout
    summary, results = read_report(tmp_path / "crashmatrix-report")
    assert (summary.shard, results, summary.interrupted) == ("20/1000", [], False)


@pytest.mark.slow
@pytest.mark.experiment
@pytest.mark.usefixtures("disk")
def test_power_shards(tmp_path: Path) -> None:
    """Recordings are dealt out; the merged report replays a scenario of any shard from its kept trace."""
    recordings = []
    for number in (1, 4):
        shard = crashmatrix("run", "replace:none", "--experiments", "power", "--budget", "200", "--shard", f"{number}/5",
                          "--report", f"s{number}", cwd=tmp_path)  # fmt: skip
        assert shard.returncode == 1, shard.stdout + shard.stderr
        summary = json.loads((tmp_path / f"s{number}" / "summary.json").read_text())
        made = summary["experiments"]["power"]["details"]["recordings"]
        recordings += [each["nudge"] for each in made if not (each["recovery_of"] or each["resumed"])]
    assert recordings == ["mixed", "async"]
    assert crashmatrix("merge", "merged", "s1", "s4", cwd=tmp_path).returncode == 1
    summary, results = read_report(tmp_path / "merged")
    assert summary.missing_shards == ["2/5", "3/5", "5/5"]
    for nudge in recordings:
        broken = next(result for result in results if nudge in result.point and result.verdict.broken)
        assert broken.replay.endswith("--report merged")
        assert crashmatrix("replay", broken.id, "--report", "merged", cwd=tmp_path).returncode == 1
