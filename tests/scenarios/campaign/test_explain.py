"""An explanation names the right cause: golden texts of findings, for bugs of different kinds.

Write them anew with ``CRASHMATRIX_REWRITE=1``, and read the difference before believing it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Finding, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.kill.plan import parse_id
from tests.scenarios.cli.test_commands import CRASHMATRIX, crashmatrix
from tests.scenarios.experiments import kill_of, power_of

pytestmark = pytest.mark.usefixtures("disk")

TOYS = "tests.scenarios.toy_systems"
GOLDEN = Path(__file__).parent / "golden"

POWER: list[Any] = [
    ("data-not-synced", f"{TOYS}:Unsynced", "ext4", 40),
    ("rename-not-synced", "replace:fsync", "posix", 40),
    pytest.param("unlink-not-synced", "sqlite:delete-full", "ext4", 60, marks=pytest.mark.slow),
    ("renamed-before-its-data", f"{TOYS}:NamedTooEarly", "posix", 40),
]
KILL = [
    ("acknowledged-before-written", "reference-log", "ack-before-write"),
    ("retired-too-early", "reference-log", "retire-before-set"),
    ("doubled-by-recovery", f"{TOYS}:RepeatsOnRecovery", ""),
]


def explained_power(target: str, fs: str, budget: int, tmp_path: Path, *, restarts: int = 0) -> list[Finding]:
    plan = Plan(target=target, budget=budget, filesystems=(fs,), report=tmp_path / "report")
    plan.report.mkdir()
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.restarts = restarts
        experiment.nudges = ("writeback",)
        experiment.run()
        findings, _ = experiment.explain()
    return findings


def explained_kill(target: str, mutant: str, tmp_path: Path) -> list[Finding]:
    plan = Plan(target=target, mutant=mutant, budget=100, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.depth_max = 0
        experiment.run()
        findings, notes = experiment.explain()
    assert not notes
    return findings


def told(finding: Finding) -> str:
    """A finding as text, without what the machine decides."""
    parts = [
        f"verdict: {finding.verdict}",
        f"cause: {finding.cause}",
        *finding.explanation,
        *(f"lost: {line}" for line in finding.lost),
        f"suggestion: {finding.suggestion}",
        f"tested: {finding.tested}",
    ]
    text = "\n".join(parts) + "\n"
    text = re.sub(r"(\.py):\d+", r"\1:#", text).replace("src/crashmatrix/", "")
    return re.sub(r"it: \d+ of \d+", "it: # of #", text)


def agrees_with_golden(name: str, finding: Finding) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("CRASHMATRIX_REWRITE"):
        path.write_text(told(finding))
    assert told(finding) == path.read_text()


@pytest.mark.parametrize(("name", "target", "fs", "budget"), POWER)
def test_power(name: str, target: str, fs: str, budget: int, tmp_path: Path) -> None:
    """The missing sync is named, and with it the promise holds."""
    findings = explained_power(target, fs, budget, tmp_path)
    worst = findings[0]
    agrees_with_golden(name, worst)
    assert worst.tested is True
    assert re.search(r"Recorded again with it: 0 of \d+ .* without it: [1-9]\d* of", worst.suggestion)
    assert worst.timeline[-2].kind == "cut"
    assert worst.timeline[-1].kind == "recovered"
    assert {event.fate for event in worst.timeline if event.kind == "write"} <= {"durable", "kept", "lost", "torn"}
    assert all(event.text != "a change" for event in worst.timeline)


@pytest.mark.parametrize(("name", "target", "mutant"), KILL)
def test_kill(name: str, target: str, mutant: str, tmp_path: Path) -> None:
    """The step that breaks the promise is named, and the place before it, where a crash was safe."""
    findings = explained_kill(target, mutant, tmp_path)
    agrees_with_golden(name, findings[0])
    assert findings[0].timeline[-2].kind == "cut"
    assert parse_id(findings[0].example)


def test_a_workload_that_is_never_the_same(tmp_path: Path) -> None:
    """Of what was in memory nothing is claimed; what the run wrote next is suspected, and named as the cause once tried."""
    (finding,) = explained_power(f"{TOYS}:UnsyncedInAnyOrder", "ext4", 40, tmp_path)
    assert re.fullmatch(r"no fsync of data before the acknowledgement of \d+", finding.cause)
    assert finding.tested is True
    assert any("in memory only is not known" in paragraph for paragraph in finding.explanation)
    assert not any("in memory" in line for line in finding.lost)


def test_two_syncs_that_only_help_together(tmp_path: Path) -> None:
    """The crash took one name and spared the other: synced alone, neither helps; together they are named, and do."""
    (finding,) = explained_power(f"{TOYS}:NoNameIsSynced", "posix", 80, tmp_path)
    assert finding.tested is True
    assert (
        "os.fsync of folder/ and ./ before" in finding.suggestion or "os.fsync of ./ and folder/" in finding.suggestion
    )
    assert finding.cause.endswith(("; nor of ./, which this crash spared", "; nor of folder/, which this crash spared"))


def test_a_sync_that_is_part_of_the_remedy(tmp_path: Path) -> None:
    """Where promises are broken in more ways, the sync that mends most is named, as one thing among others."""
    finding = explained_power(f"{TOYS}:NoNameIsSyncedNorAllContent", "posix", 80, tmp_path)[0]
    assert finding.tested is False
    assert finding.cause.startswith("among other things: no fsync of")
    (broken, judged), (broken_without, judged_without) = re.findall(r"it: (\d+) of (\d+)", finding.suggestion)
    assert 0 < int(broken) / int(judged) <= int(broken_without) / int(judged_without) / 2


@pytest.mark.slow
def test_recovery_that_believed_the_page_cache(tmp_path: Path) -> None:
    """What shows after a restart only is told so, and syncing before recovery mends it."""
    findings = explained_power(f"{TOYS}:BelievesTheCache", "ext4", 100, tmp_path, restarts=2)
    assert findings[0].verdict is Verdict.CANNOT_OPEN
    assert findings[0].cause == "recovery built upon what only the page cache had"
    assert findings[0].tested is True


def test_the_minimised_scenario_is_replayed_and_looked_at(tmp_path: Path) -> None:
    """Its id is not among the results, and yet it is replayed from the report; a shell opens in what it left."""
    ran = crashmatrix(
        *("run", "replace:fsync", "--experiments", "power", "--fs", "posix", "--budget", "40"), cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    report = tmp_path / "crashmatrix-report"
    summary = json.loads((report / "summary.json").read_text())
    (finding,) = summary["findings"]
    results = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    assert finding["count"] == sum(result["verdict"] == "loses" for result in results)
    again = crashmatrix("replay", finding["example"], cwd=tmp_path)
    assert again.returncode == 1
    assert again.stdout.startswith(f"{finding['example']}: loses")
    shell = look("replay", finding["example"], "--shell", cwd=tmp_path)
    assert shell.returncode == 0, shell.stderr
    first, *listed = shell.stdout.splitlines()
    assert "the posix that the power cut" in first
    assert listed == ["settings", "settings.new"]
    assert "settings.new becomes settings" in (report / "index.html").read_text()
    assert crashmatrix("replay", finding["example"], "--shell", "--keep", "kept", cwd=tmp_path).returncode == 2


def test_a_shell_in_what_a_kill_left(tmp_path: Path) -> None:
    """The folder is that of the killed process, before recovery, and is gone afterwards."""
    store = tmp_path / "store.py"
    store.write_text(STORE)
    ran = crashmatrix("run", "store.py:Store", "--experiments", "kill", cwd=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    finding = json.loads((tmp_path / "crashmatrix-report" / "summary.json").read_text())["findings"][0]
    shell = look("replay", finding["example"], "--shell", cwd=tmp_path, script="pwd; ls; cat data")
    line, folder, *left = shell.stdout.splitlines()
    assert line.startswith(f"{folder}: the folder that the kill left, before recovery")
    assert left == ["data"]
    assert not Path(folder).exists()


STORE = """
from crashmatrix.faults import declare
from crashmatrix import SystemUnderTest

OPENED = declare("store.opened", "the old file is truncated")


class Store(SystemUnderTest):
    def workload(self, root, journal):
        for item in range(3):
            with journal.attempt(item):
                items = self.recover(root)
                with open(root / "data", "w") as file:
                    OPENED.hit()
                    file.writelines(f"{each}\\n" for each in [*items, item])

    def recover(self, root):
        return [int(line) for line in (root / "data").read_text().split()] if (root / "data").exists() else []
"""


def look(*arguments: str, cwd: Path, script: str = "ls") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SHELL": "/bin/sh"}
    return subprocess.run(
        [*CRASHMATRIX, *arguments], cwd=cwd, input=script, env=environment, capture_output=True, text=True, check=False
    )


def test_a_program_with_a_journal_of_its_own_is_not_tried(tmp_path: Path) -> None:
    """What acknowledges past the harness cannot be given a sync: not tried, and said so."""
    (tmp_path / "store.toml").write_text(
        'contract = "exactly-once"\n'
        "workload = ['sh', '-c', 'for i in 0 1 2; do echo attempt $i >>$CRASHMATRIX_JOURNAL; echo $i >>$CRASHMATRIX_ROOT/data;"
        " echo ack $i >>$CRASHMATRIX_JOURNAL; done']\n"
        "recover = ['sh', '-c', 'cat $CRASHMATRIX_ROOT/data 2>/dev/null || true']\n"
    )
    finding = explained_power(str(tmp_path / "store.toml"), "posix", 20, tmp_path)[0]
    assert finding.tested is None
    assert "writes its journal itself" in finding.suggestion
    assert finding.cause


def test_results_stand_if_they_cannot_be_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in explaining takes no result away; the notes name what was not explained."""
    monkeypatch.setattr("crashmatrix.scenarios.power.explain.explain.explain", no_explanation)
    plan = Plan(
        target="replace:fsync", budget=10, filesystems=("posix",), experiments=("power",), report=tmp_path / "report"
    )
    campaign = Campaign(plan)
    campaign.run()
    assert campaign.summary.verdict is Verdict.LOSES
    assert campaign.summary.findings == []
    notes = campaign.summary.experiments["power"].details["notes"]
    assert any("was not explained" in note and "no way" in note for note in notes)
    broken = [result for result in campaign.results if result.verdict.broken]
    assert any(finding_id(broken[0]) in note for note in notes)


def test_an_interrupt_while_explaining_keeps_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C skips the explanation; what was found is in the report, grouped as it is without one."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crashmatrix.scenarios.campaign.campaign.explanation_of", interrupted)
    plan = Plan(target=f"{TOYS}:Buffered", experiments=("kill",), report=tmp_path / "report")
    with pytest.raises(KeyboardInterrupt):
        Campaign(plan).run()
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["verdict"], summary["interrupted"], summary["findings"]) == ("loses", True, [])
    assert (tmp_path / "report" / "results.jsonl").read_text().count('"loses"')


def no_explanation(*_: Any) -> None:
    raise RuntimeError("no way")
