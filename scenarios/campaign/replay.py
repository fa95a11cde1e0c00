"""Run one scenario of a report again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.reports import RunSummary, read_summary
from crashmatrix.scenarios.campaign.experiments import kind_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import CrashedFolder, Scenario, StoredRun
from crashmatrix.scenarios.judging.checker import Checked, Checker

__all__ = ["Replayed", "check_trusted", "crashed", "replay"]


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
    name = read_summary(report).target
    file = name if name.endswith(".toml") else name.rpartition(":")[0]
    if not file.endswith((".py", ".toml")):
        return
    whole = Path(file).resolve()
    if not whole.is_relative_to(Path.cwd().resolve()) or whole.is_relative_to(report.resolve()):
        raise UsageError(
            f"the report names the target {name}, and a replay runs that file: look at it, then add --trust"
        )


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
    return replace(Plan.from_summary(summary, report), experiments=(kind_of(scenario).name,))


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
