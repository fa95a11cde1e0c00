"""An experiment is one file and one line of the registry: everything else knows it by its interface."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from crashmatrix import EnvironmentLacks, UsageError, Verdict, run
from crashmatrix.reports import read_report
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.replay import replay
from crashmatrix.scenarios.cli.commands import call
from crashmatrix.scenarios.cli.refusal import Refused
from crashmatrix.scenarios.experiment import Listener
from tests.scenarios.toy_experiment import EMPTY, FailsHalfway

pytest_plugins = ["pytester"]

TOYS = "tests.scenarios.toy_systems"
STORE = f"{TOYS}:Store"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The toy's line in the registry; reports go into a folder of the test."""
    monkeypatch.setitem(EXPERIMENTS, "empty", EMPTY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def crashmatrix(*arguments: str) -> int:
    """Run a command in this process, whose registry has the toy."""
    return call(arguments)


def run_toy(*arguments: str) -> int:
    return crashmatrix("run", STORE, "--experiments", "empty", *arguments)


def test_it_runs_and_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line runs it; every form of the report shows its points under its own labels, and its explanation."""
    assert run_toy() == 1
    shown = capsys.readouterr().out
    assert "file " in shown
    assert "loses  empty:data" in shown
    assert "data was emptied" in shown
    assert "again: crashmatrix replay empty:data --report crashmatrix-report" in shown
    assert "empty: 2 places, named files" in shown
    assert "empty: explained by a toy" in shown
    report = Path("crashmatrix-report")
    summary, results = read_report(report)
    assert [(result.id, result.verdict) for result in results] == [
        ("empty:nothing", Verdict.SAFE),
        ("empty:data", Verdict.LOSES),
    ]
    assert summary.experiments["empty"].labels == EMPTY.labels
    assert [finding.cause for finding in summary.findings] == ["data was emptied"]
    assert "data was emptied" in (report / "index.html").read_text()
    assert "data was emptied" in (report / "summary.md").read_text()
    cases = ET.parse(report / "junit.xml").getroot().iter("testcase")
    assert {case.attrib["name"]: case.find("failure") is not None for case in cases} == {"nothing": False, "data": True}


def test_it_is_replayed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """A replay crashes again, from the report alone, and leaves the folder; a scenario of another experiment is refused."""
    run_toy()
    capsys.readouterr()
    assert crashmatrix("replay", "empty:data", "--keep", "kept") == 1
    assert capsys.readouterr().out.splitlines()[0] == "empty:data: loses"
    assert (Path("kept") / "crashed" / "data").read_bytes() == b""
    assert replay("empty:nothing", Path("crashmatrix-report"), None).checked.verdict is Verdict.SAFE
    with pytest.raises(UsageError, match="ids begin with kill:, power:, io-error:, empty:"):
        replay("flood:data", Path("crashmatrix-report"), None)


def test_a_shell_opens_in_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--shell` lays out the crashed folder, and says what it is."""
    run_toy()
    shell = tmp_path / "shell"
    shell.write_text("#!/bin/sh\nls -s data\n")
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    assert crashmatrix("replay", "empty:data", "--shell") == 0
    said = capfd.readouterr().out
    assert "the folder in which data was emptied; " in said
    assert "it is gone when the shell ends" in said


def test_shards_are_merged(capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of the plan are run apart, and are the whole together."""
    assert run_toy("--shard", "1/2", "--report", "one") == 0
    assert run_toy("--shard", "2/2", "--report", "two") == 1
    assert crashmatrix("merge", "whole", "one", "two") == 1
    summary, results = read_report(Path("whole"))
    assert sorted(result.id for result in results) == ["empty:data", "empty:nothing"]
    assert summary.experiments["empty"].labels == EMPTY.labels
    assert crashmatrix("diff", "whole", "whole") == 0


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`run --help` lists the registry with each experiment's budget; `failpoints` lists its points."""
    crashmatrix("run", "--help")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "2,000 hits (kill)" in shown  # Help texts are made when the commands are imported, before the toy is there.
    crashmatrix("failpoints", STORE)
    shown = capsys.readouterr().out
    assert "toy.put.before_write" in shown
    assert "empty.any_file" in shown
    with pytest.raises(Refused, match="no experiment 'flood'; there are kill, power, io-error, empty"):
        crashmatrix("run", STORE, "--experiments", "flood")


def test_a_mutation_run_searches_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug is searched with every experiment that kills what must die for it to show, one search after the other."""
    for name in [name for name in EXPERIMENTS if name != "empty"]:
        monkeypatch.delitem(EXPERIMENTS, name)
    found = try_mutant("drop-log-first", workers=1)
    assert found.found is not None
    assert found.found.experiment == "empty"
    assert found.scenarios > 1  # Both searches ran: the first of them empties nothing.
    assert found.as_it_should_be
    monkeypatch.setattr(EMPTY, "missing", "no file; make one")
    with pytest.raises(EnvironmentLacks, match="empty: no file; make one"):
        try_mutant("drop-log-first", workers=1)


TEST = """
import sys
sys.path[:0] = {path!r}
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from tests.scenarios.toy_experiment import EMPTY
from tests.scenarios.toy_systems import Store
EXPERIMENTS["empty"] = EMPTY

def test_it(crash_matrix):
    outcome = crash_matrix(Store(), experiments=["empty"])
    assert [finding.cause for finding in outcome.findings] == ["data was emptied"]
    outcome.assert_safe()
"""


def test_the_pytest_fixture_runs_it(pytester: pytest.Pytester) -> None:
    """The fixture runs it by name, and fails the test with its explanation."""
    pytester.makepyfile(test_toy=TEST.format(path=[str(Path(__file__).parents[2])]))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Store breaks its promise*", "*why: data was emptied", "*crash: empty at data"])


class Heard(Listener):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.ids: list[str] = []

    def planned(self, stage: str, total: int) -> None:
        self.stages.append(stage)

    def result(self, result: object) -> None:
        self.ids.append(result.id)  # type: ignore[attr-defined]


def test_a_listener_hears_it() -> None:
    """Stages and results reach the listener as they come."""
    heard = Heard()
    run(STORE, experiments=["empty"], listener=heard)
    assert (heard.stages, heard.ids) == (["emptying files", "explaining"], ["empty:nothing", "empty:data"])


FALLBACKS: list[tuple[dict[str, object], dict[str, str], Sequence[str]]] = [
    ({}, {"empty": "no file"}, ["ext4"]),
    ({"or_alternative": True}, {"empty on ext4": "no file"}, ["posix"]),
    ({"experiments": ("empty",), "leave_out": True}, {"empty": "no file"}, ["ext4"]),
]


@pytest.mark.parametrize(("options", "not_run", "filesystems"), FALLBACKS)
def test_what_this_machine_lacks(
    options: dict[str, object], not_run: dict[str, str], filesystems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment that cannot be run is left out, or run with the options that it names itself; the summary says so."""
    for name in [name for name in EXPERIMENTS if name != "empty"]:
        monkeypatch.delitem(EXPERIMENTS, name)
    monkeypatch.setattr(EMPTY, "missing", "no file")
    campaign = Campaign(Plan(target=STORE, **options))  # type: ignore[arg-type]
    campaign.run()
    assert campaign.summary.not_run == not_run
    assert campaign.summary.options["filesystems"] == tuple(filesystems)
    assert bool(campaign.results) is (filesystems == ["posix"])


def test_a_named_experiment_is_refused_before_anything_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says what is missing, and how the experiment can be run here; no report is begun."""
    monkeypatch.setattr(EMPTY, "missing", "no file")
    with pytest.raises(EnvironmentLacks, match=r"^empty on ext4: no file; --fs posix can run here$"):
        Campaign(Plan(target=STORE, experiments=("kill", "empty"))).run()
    assert not os.path.lexists("crashmatrix-report")


def test_a_run_that_fails_halfway_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a later experiment fails, the report of the earlier ones says that the run was cut short."""
    monkeypatch.setitem(EXPERIMENTS, "fails", FailsHalfway())
    with pytest.raises(UsageError, match="this cannot be run"):
        Campaign(Plan(target=STORE, experiments=("empty", "fails"), budget=1)).run()
    summary = json.loads((Path("crashmatrix-report") / "summary.json").read_text())
    assert (summary["interrupted"], summary["verdict"]) == (True, "unknown")
