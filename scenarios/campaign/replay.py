"""Run one scenario of a report again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from crashmatrix.reports import RunSummary, read_results, read_summary
from crashmatrix.scenarios.campaign.experiments import kind_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.resume import digest_of
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import CrashedFolder, Scenario, StoredRun
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["Replayed", "changed", "check_trusted", "crashed", "replay"]


@dataclass(frozen=True)
class Replayed:
    """The outcome of a replay, and the path of the crashed folder (``--keep``)."""

    checked: Checked
    kept: Path | None


def check_trusted(report: Path) -> None:
    """Refuse to run a target in a file that somebody else may have named: the report may be a download.

    A file below the current folder is trusted, unless it came with the report.

    Raises:
        UsageError, crashmatrix.reports.ReportError: it is not trusted, or there is no report.
    """
    plan = _located(Plan.from_summary(summary := read_summary(report), report), summary)
    file = Target(plan.target).place
    if file is None:
        return
    whole = Path(file).resolve()
    if not whole.is_relative_to(Path.cwd().resolve()) or whole.is_relative_to(report.resolve()):
        raise UsageError(
            f"the report names the target {plan.target}, and a replay runs that file: look at it, then add --trust"
        )


def changed(report: Path) -> str:
    """Say that the target's file is not as it was when the report was made; empty if it is, or if the report does not tell.

    Raises:
        UsageError, crashmatrix.reports.ReportError: there is no report, or its target is gone.
    """
    summary = read_summary(report)
    file = Target(_located(Plan.from_summary(summary, report), summary).target).file
    if not summary.target_digest or file is None or digest_of(file) == summary.target_digest:
        return ""
    before = f"; the report's was {summary.target_file}" if str(file) != summary.target_file else ""
    return f"the target has changed since the report: {file}{before}"


def replay(scenario: str, report: Path, keep: Path | None) -> Replayed:
    """Crash again where a report's scenario crashed, and judge the crashed folder.

    Args:
        keep: a new folder for the crashed folder and its journal.

    Raises:
        UsageError, crashmatrix.reports.ReportError: no such report or scenario, or ``keep`` exists.
        EnvironmentLacks: this machine cannot replay it.
    """
    summary = read_summary(report)
    plan = _plan_of(scenario, summary, report)
    if keep is not None:
        _check_new(keep)
    checked = _scenario(scenario, plan, summary).replay(lambda: _bench(plan), keep)
    if checked.unmet and (unknown := _not_in(report, summary, scenario)):
        raise UsageError(unknown)
    return Replayed(checked, keep if keep is not None and keep.exists() else None)


@contextmanager
def crashed(scenario: str, report: Path) -> Iterator[CrashedFolder]:
    """Crash again; for the block, what is left lies in a folder, before recovery. Call it last: see `Scenario.crashed`.

    Raises:
        UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: no such report or scenario, or nothing to look at.
    """
    summary = read_summary(report)
    plan = _plan_of(scenario, summary, report)
    with _scenario(scenario, plan, summary).crashed(lambda: _bench(plan)) as left:
        yield left


def _plan_of(scenario: str, summary: RunSummary, report: Path) -> Plan:
    return _located(replace(Plan.from_summary(summary, report), experiments=(kind_of(scenario).name,)), summary)


def _located(plan: Plan, summary: RunSummary) -> Plan:
    """Return the plan of a report, whose target is in the file that the report names, though another folder is current now.

    A report of another machine may name a file that is not here: then it is the one of that name below the current folder.

    Raises:
        UsageError: neither is there.
    """
    place = Target(plan.target).place
    if place is None or not summary.target_file or summary.target_file == str(Path(place).absolute()):
        return plan
    if Path(summary.target_file).is_file():
        return replace(plan, target=summary.target_file + plan.target.removeprefix(place))
    if not Path(place).is_file():
        raise UsageError(
            f"the report's target {plan.target} was in {summary.target_file}, which is not there; bring the file back, "
            f"or go to the folder in which {place} is now"
        )
    return plan


def _not_in(report: Path, summary: RunSummary, scenario: str) -> str:
    """Say that a report has no such scenario, and which one is like it; empty if it has it."""
    names = [*(result.id for result in read_results(report)), *(finding.example for finding in summary.findings)]
    if scenario in names:
        return ""
    near = get_close_matches(scenario, names, 1)
    return f"{report} has no scenario {scenario!r}, and no run came to it; {_hint(near)}"


def _hint(near: list[str]) -> str:
    return f"the nearest that it has is {near[0]}" if near else "results.jsonl lists those that it has"


def _scenario(name: str, plan: Plan, summary: RunSummary) -> Scenario:
    kind = kind_of(name)
    part = summary.experiments.get(kind.name)
    return kind.scenario(name, StoredRun(plan.experiment_options, part.details if part else {}))


@contextmanager
def _bench(plan: Plan) -> Iterator[Checker]:
    with workbench(plan) as (checker, _):
        yield checker


def _check_new(folder: Path) -> None:
    """See now, and not after the crash, that a folder can be made. Raises UsageError."""
    try:
        folder.mkdir(parents=True)
        folder.rmdir()
    except FileExistsError:
        raise UsageError(f"{folder} exists; name a new folder with --keep") from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); name another folder with --keep") from None
