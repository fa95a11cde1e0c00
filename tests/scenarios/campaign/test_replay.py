"""A scenario is run again from the report alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crashmatrix.reports import ReportWriter
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.replay import changed, check_trusted, replay
from crashmatrix.scenarios.campaign.resume import digest_of
from crashmatrix.scenarios.errors import UsageError
from tests.reports.samples import result, summary
from tests.scenarios.cli.test_commands import KILL, TOYS
from tests.scenarios.cli.test_shell import look
from tests.scenarios.command_line import crashmatrix


@pytest.mark.usefixtures("disk")
def test_the_minimised_scenario_is_replayed_and_looked_at(tmp_path: Path) -> None:
    """The minimised scenario, which is not in `results.jsonl`, is replayed from the report; a shell opens in its folder."""
    ran = crashmatrix(
        *("run", "replace:fsync", "--experiments", "power", "--fs", "posix", "--budget", "40"), cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    report = tmp_path / "crashmatrix-report"
    stored = json.loads((report / "summary.json").read_text())
    finding = stored["findings"][0]
    results = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    found = sum(
        each["count"] for each in stored["findings"]
    )  # A second life that loses items has a finding of its own.
    assert found == sum(each["verdict"] == "loses" for each in results)
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


def test_what_a_replay_refuses(tmp_path: Path) -> None:
    """A folder that exists is not written to, and an id that no experiment knows is not run."""
    ran = crashmatrix("run", f"{TOYS}:Store", *KILL, "--budget", "4", "--report", "report", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = tmp_path / "report"
    with pytest.raises(UsageError, match="exists; name a new folder with --keep"):
        replay("kill:workload.end@1", report, tmp_path)
    with pytest.raises(UsageError, match="cannot be made"):
        replay("kill:workload.end@1", report, report / "summary.md" / "x")
    with pytest.raises(UsageError, match="is not a scenario id"):
        replay("workload.end@1", report, None)
    for name, near in [("kill:workload.ned@1", "kill:workload.end@1"), ("kill:workload.end@7", "kill:workload.end@1")]:
        with pytest.raises(
            UsageError, match=rf"has no scenario '{name}', and no run .* nearest that it has is {near}$"
        ):
            replay(name, report, None)
    kept = replay("kill:workload.end@1", report, tmp_path / "kept").kept
    assert kept is not None
    assert {entry.name for entry in kept.iterdir()} == {"crashed", "journal", "recovered"}


def report_of(folder: Path, target: str, digest: str = "") -> Path:
    """A report in a folder, on a target in a file of the folder."""
    told = summary([result()], target=target, options=Plan(target=target).settings())
    told.target_file, told.target_digest = str(folder / target.partition(":")[0]), digest
    with ReportWriter(folder / "report") as writer:
        writer.finish(told, [result()])
    return folder / "report"


def test_the_file_of_the_report_is_run(tmp_path: Path) -> None:
    """A replay elsewhere runs the file that the report's run used, and not one of its name in the current folder."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    ran = crashmatrix("init", "store", cwd=tmp_path / "here")
    ran = crashmatrix("run", "store.py", *KILL, "--budget", "2", "--report", "report", cwd=tmp_path / "here")
    assert ran.returncode == 0, ran.stderr
    again = ("replay", "kill:workload.end@1", "--trust", "--report", "../here/report")
    (tmp_path / "there" / "store.py").write_text("raise SystemExit(7)")
    assert crashmatrix(*again, cwd=tmp_path / "there").stdout == "kill:workload.end@1: safe\n"
    with (tmp_path / "here" / "store.py").open("a") as file:
        file.write("# changed\n")
    said = crashmatrix(*again, cwd=tmp_path / "there").stdout.splitlines()
    assert said == [
        f"the target has changed since the report: {tmp_path}/here/store.py", "kill:workload.end@1: safe"
    ]  # fmt: skip


def test_a_file_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says where it was. A file of its name in the current folder is run, if need be with a remark."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    report = report_of(tmp_path / "here", "store.py:Store", "0" * 16)
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(
        UsageError, match=f"was in {tmp_path}/here/store.py, which is not there; bring the file back, or"
    ):
        replay("kill:workload.end@1", report, None)
    mine = tmp_path / "there" / "store.py"
    mine.write_text("")
    check_trusted(report)
    assert changed(report) == (
        f"the target has changed since the report: {mine}; the report's was {tmp_path}/here/store.py"
    )
    assert not changed(report_of(tmp_path / "here", "store.py:Store", digest_of(mine)))


def test_the_target_that_is_run_is_the_one_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that shows one target and would run another one is not trusted; nor is a file elsewhere that it names."""
    monkeypatch.chdir(tmp_path)
    told = summary([result()], target="sqlite", options=Plan(target="/elsewhere/store.py:Store").settings())
    with ReportWriter(tmp_path / "report") as writer:
        writer.finish(told, [result()])
    with pytest.raises(UsageError, match=r"names the target /elsewhere/store\.py:Store"):
        check_trusted(tmp_path / "report")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "store.py").write_text("")
    report = report_of(tmp_path / "here", "store.py:Store")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(UsageError, match=f"names the target {tmp_path}/here/store.py:Store"):
        check_trusted(report)


@pytest.mark.parametrize(
    ("target", "trusted"),
    [
        ("sqlite", True),
        ("package.module:Class", True),
        ("store.py:Store", True),
        ("below/store.toml", True),
        ("../store.py:Store", False),
        ("/elsewhere/store.toml", False),
        ("report/store.py:Store", False),
        ("link/store.py:Store", False),
    ],
)
def test_a_target_that_came_with_the_report_is_not_run(
    target: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report may be a download, and name any file: only files below the current folder are run unseen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/")
    told = summary([result()], target=target, options=Plan(target=target).settings())
    with ReportWriter(tmp_path / "report") as writer:
        writer.finish(told, [result()])
    if trusted:
        check_trusted(tmp_path / "report")
    else:
        with pytest.raises(UsageError, match=r"names the target .*/store.* add --trust"):
            check_trusted(tmp_path / "report")
