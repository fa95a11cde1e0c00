"""A finding of power cuts names the right cause, and a remedy that was tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Finding, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.explain import explanation_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from tests.scenarios.experiments import power_of
from tests.scenarios.explained import agrees_with_golden

pytestmark = pytest.mark.usefixtures("disk")

TOYS = "tests.scenarios.toy_systems"
GOLDEN = Path(__file__).parent / "golden"
COMMITS_SELDOM = "ext4:commit=300"
"""The kernel commits rarely by itself, so that explanations do not depend on its commits."""

POWER: list[Any] = [
    ("data-not-synced", f"{TOYS}:Unsynced", COMMITS_SELDOM, 40),
    pytest.param("rename-not-synced", "replace:fsync", "posix", 40, marks=pytest.mark.slow),
    pytest.param("unlink-not-synced", "sqlite:delete-full", COMMITS_SELDOM, 60, marks=pytest.mark.slow),
    pytest.param("renamed-before-its-data", f"{TOYS}:NamedTooEarly", "posix", 40, marks=pytest.mark.slow),
]


def explained_power(target: str, fs: str, budget: int, tmp_path: Path, *, restarts: int = 0) -> list[Finding]:
    plan = Plan(target=target, budget=budget, filesystems=(fs,), report=tmp_path / "report")
    plan.report.mkdir()
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.restarts = restarts
        experiment.nudges = ("writeback",)
        experiment.run()
        return explanation_of(experiment).findings


@pytest.mark.parametrize(("name", "target", "fs", "budget"), POWER)
def test_power(name: str, target: str, fs: str, budget: int, tmp_path: Path) -> None:
    """The missing sync is named, and with it the promise holds."""
    findings = explained_power(target, fs, budget, tmp_path)
    worst = findings[0]
    agrees_with_golden(GOLDEN / f"{name}.txt", worst)
    assert worst.tested is True
    assert re.search(r"Recorded again with it: 0 of \d+ .* without it: [1-9]\d* of", worst.suggestion)
    assert worst.timeline[-2].kind == "cut"
    assert worst.timeline[-1].kind == "recovered"
    assert {event.fate for event in worst.timeline if event.kind == "write"} <= {"durable", "kept", "lost", "torn"}
    assert all(event.text != "a change" for event in worst.timeline)


def test_a_workload_that_is_never_the_same(tmp_path: Path) -> None:
    """Nothing is claimed about memory. The run's next write is suspected, and named as the cause once tried."""
    (finding,) = explained_power(f"{TOYS}:UnsyncedInAnyOrder", COMMITS_SELDOM, 40, tmp_path)
    assert re.fullmatch(r"no fsync of data before the acknowledgement of \d+", finding.cause)
    assert finding.tested is True
    assert any("in memory only are not known" in paragraph for paragraph in finding.explanation)
    assert not any("in memory" in line for line in finding.lost)


def test_two_syncs_that_only_help_together(tmp_path: Path) -> None:
    """The crash took one name and spared the other: synced alone, neither helps; together they are named, and do."""
    (finding,) = explained_power(f"{TOYS}:NoNameIsSynced", "posix", 80, tmp_path)
    assert finding.tested is True
    assert "fsync of folder/ and ./ before" in finding.suggestion or "fsync of ./ and folder/" in finding.suggestion
    assert finding.cause.endswith(("; nor of ./, which this crash spared", "; nor of folder/, which this crash spared"))


@pytest.mark.slow
def test_a_sync_that_is_part_of_the_remedy(tmp_path: Path) -> None:
    """If promises break in several ways, the report names the sync that fixes most of them, as one of several fixes."""
    finding = explained_power(f"{TOYS}:NoNameIsSyncedNorAllContent", "posix", 80, tmp_path)[0]
    assert finding.tested is False
    assert finding.cause.startswith("among other things: no fsync of")
    (broken, judged), (broken_without, judged_without) = re.findall(r"it: (\d+) of (\d+)", finding.suggestion)
    assert 0 < int(broken) / int(judged) <= int(broken_without) / int(judged_without) / 2


@pytest.mark.slow
def test_recovery_that_believed_the_page_cache(tmp_path: Path) -> None:
    """A violation that shows only after a restart is reported as such, and a sync before recovery fixes it."""
    findings = explained_power(f"{TOYS}:BelievesTheCache", "ext4", 100, tmp_path, restarts=2)
    assert findings[0].verdict is Verdict.CANNOT_OPEN
    assert findings[0].cause == "recovery built upon what only the page cache had"
    assert findings[0].tested is True


CAUSES = "tests.scenarios.cause_systems"


@pytest.mark.daily(1)
@pytest.mark.parametrize("fs", ["posix", COMMITS_SELDOM])
def test_a_missing_sync_that_shows_after_a_restart_too(fs: str, tmp_path: Path) -> None:
    """The same loss after a restart is the same finding, and recovery is not blamed for what it notes of unsynced items."""
    findings = explained_power(f"{CAUSES}:UnsyncedAndCounted", fs, 80, tmp_path, restarts=2)
    assert not any("page cache" in finding.cause for finding in findings)
    lost = next(finding for finding in findings if finding.verdict is Verdict.LOSES and finding.also)
    assert lost.cause.startswith("no fsync of data between the write to it and the acknowledgement of 1")
    assert re.search(
        r"It shows without a restart in \d+ crash states, and after .* restarted in \d+ more", lost.explanation[-1]
    )
    assert not any(finding.id in lost.also for finding in findings)
    counted = next(finding for finding in findings if "items were found before" in " ".join(finding.explanation))
    assert counted.tested is True
    assert counted.cause == lost.cause
    assert "So recovery is not to blame." in counted.explanation[-1]


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("system", "fs", "cause", "suggestion"),
    [
        ("MapWithoutMsync", "posix", "no msync of map before the acknowledgement of 1", "fsync of map before"),
        (
            "MapWithoutMsync",
            COMMITS_SELDOM,
            "no msync of map before the acknowledgement of 1",
            "fsync of map before",
        ),
        ("Buffered", "posix", "1 was acknowledged before anything of it was handed to the kernel", ""),
        ("TornRecord", "posix", "a torn write: only a part of it reached the disk: record, bytes 0 to 1,535", ""),
        ("Grown", "posix", "log grew without its content: log, byte 0, were lost and read as zeros", ""),
        (
            "CompactedAtTheEnd",
            "posix",
            "no fsync of 1.table before 'log removed' in the store's folder; nor of ./, which this crash spared",
            "fsync of *.table and ./ before a file is removed or replaced",
        ),
        *(
            ("ValuesUnsynced", fs, "no fsync of values before the change of index", "before each change of index")
            for fs in ("posix", COMMITS_SELDOM)
        ),
        (
            "RandomNames",
            "posix",
            """no fsync of the store's folder between 'tmp* becomes k' and the acknowledgement of ["k",1]""",
            "fsync of ./ before each acknowledgement",
        ),
        ("ByOtherProcesses", "posix", "no fsync of new before its rename to k", "fsync of new before each rename"),
    ],
)
def test_causes(system: str, fs: str, cause: str, suggestion: str, tmp_path: Path) -> None:
    """Each cause is named rightly, and a sync that would help is tried, and helps."""
    findings = explained_power(f"{CAUSES}:{system}", fs, 40, tmp_path)
    assert cause in [finding.cause for finding in findings]
    finding = next(each for each in findings if each.cause == cause)
    assert suggestion in finding.suggestion
    assert finding.tested is (True if suggestion else None) or not finding.suggestion


def test_a_file_that_nobody_needs_is_not_blamed(tmp_path: Path) -> None:
    """A file that is never synced is lost in each crash. If the promise breaks without that loss, too, the step is to blame."""
    finding = explained_power(f"{CAUSES}:TwoSteps", COMMITS_SELDOM, 40, tmp_path)[0]
    assert finding.cause.startswith("the promise breaks with this step of the workload, after the journal line attempt")
    assert all(line.startswith("as well, and not to blame: notes") for line in finding.lost)
    assert finding.lost
    assert any("Changes of notes were lost as well" in sentence for sentence in finding.explanation)


@pytest.mark.parametrize(
    ("system", "in_memory"),
    [("WrittenBackOnly", ["in memory only: data, its size: 4,096 bytes"]), ("WrittenBackOnlyAhead", [])],
)
def test_bytes_that_are_on_the_disk_are_not_called_lost_in_memory(
    system: str, in_memory: list[str], tmp_path: Path
) -> None:
    """After sync_file_range, the metadata of the file is lost; its bytes are on the disk, and the explanation says so."""
    finding = explained_power(f"{CAUSES}:{system}", COMMITS_SELDOM, 40, tmp_path)[0]
    assert finding.cause == "no fsync of data between the write to it and the acknowledgement of 1"
    assert list(finding.lost) == [
        *in_memory, "on the disk, without the metadata that leads there: data, bytes 0 to 4,095",
    ]  # fmt: skip
    assert any("On the disk, but lost to the file with its metadata" in sentence for sentence in finding.explanation)


@pytest.mark.parametrize(
    ("change", "suggestion"),
    [
        ("echo $i >>data", "fsync of data and ./ before each acknowledgement"),
        pytest.param(
            "cat data >new 2>/dev/null; echo $i >>new; mv new data; sync .",
            "fsync of new before each rename or link of it",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_program_that_writes_its_journal_itself(change: str, suggestion: str, tmp_path: Path) -> None:
    """Syncs are tried on programs in any language, since their processes are held before their calls."""
    (tmp_path / "store.toml").write_text(
        'contract = "exactly-once"\n'
        f"workload = ['sh', '-c', 'cd $CRASHMATRIX_ROOT; for i in 0 1 2; do echo attempt $i >>$CRASHMATRIX_JOURNAL; {change};"
        " echo ack $i >>$CRASHMATRIX_JOURNAL; done']\n"
        "recover = ['sh', '-c', 'cat $CRASHMATRIX_ROOT/data 2>/dev/null || true']\n"
    )
    findings = explained_power(str(tmp_path / "store.toml"), "posix", 12, tmp_path)
    assert True in [finding.tested for finding in findings if suggestion in finding.suggestion]


def test_results_stand_if_they_cannot_be_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in explaining takes no result away; the notes name what was not explained."""
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.explain.explain", no_explanation)
    plan = Plan(
        target=f"{TOYS}:Unsynced", budget=10, filesystems=("posix",), experiments=("power",), report=tmp_path / "report"
    )
    campaign = Campaign(plan)
    campaign.run()
    assert campaign.summary.verdict.broken
    assert campaign.summary.findings == []
    notes = campaign.summary.experiments["power"].details["notes"]
    assert any("was not explained" in note and "no way" in note for note in notes)
    broken = [result for result in campaign.results if result.verdict.broken]
    assert any(finding_id(broken[0]) in note for note in notes)


def no_explanation(*_: Any) -> None:
    raise RuntimeError("no way")
