"""Whether the unfinished run in a report directory may be gone on with: only if it is the same run.

The same plan of the same target, judged by the same versions. Otherwise its judgements would be taken for those of another run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from crashmatrix.reports import ReportError, RunSummary, ScenarioResult, read_report
from crashmatrix.reports.unfinished.ledger import Ledger
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.versions import PACKAGES, versions
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["as_reported", "digest_of", "finished_report", "in_words", "program_of", "refuse_other_run"]

_KEY = "plan"


def refuse_other_run(plan: Plan, ledger: Ledger) -> None:
    """Note which run this is; refuse to go on with another one. Raises UsageError."""
    mine = _described(plan)
    theirs = ledger.get(_KEY, dict[str, Any]) if ledger.resumes else None
    if theirs is None:
        ledger.put(_KEY, mine)
        return
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise UsageError(
                f"the unfinished run in {plan.report} differs in {_difference(plan, name, theirs.get(name), value)}, or without "
                "--resume to begin anew"
            )


def finished_report(plan: Plan) -> tuple[RunSummary, list[ScenarioResult]] | None:
    """Return the report of the plan's run, if it is finished: then there is nothing to go on with.

    Raises:
        UsageError: there is the finished report of another run.
    """
    try:
        summary, results = read_report(plan.report)
    except ReportError:
        return None
    if summary.interrupted:
        return None
    mine: dict[str, Any] = {
        "target": plan.name,
        "seed": plan.seed,
        "shard": str(plan.shard),
        "options": as_reported(plan.settings()),
    }
    theirs: dict[str, Any] = {
        "target": summary.target,
        "seed": summary.seed,
        "shard": summary.shard,
        "options": summary.options,
    }
    if plan.or_alternative:  # It may have been run on another filesystem than the plan's.
        mine["options"]["filesystems"] = summary.options.get("filesystems")
    mine, theirs = {**mine.pop("options"), **mine}, {**theirs.pop("options"), **theirs}
    for name, value in mine.items():
        if theirs.get(name) != value:
            was, now = in_words(theirs.get(name)), in_words(value)
            raise UsageError(
                f"{plan.report} has the finished report of another run: its {name} was {was}, not {now}; "
                "name another directory with --report, or run without --resume to replace it"
            )
    return summary, results


def in_words(value: object) -> str:
    """Return an option's value for people."""
    return "the default" if value is None else str(value)


def _difference(plan: Plan, name: str, theirs: object, mine: object) -> str:
    """Say what differs, and how to go on with the unfinished run."""
    if name == "program":
        file = Target(plan.target).file
        return f"the program: {file or plan.target} has changed since; bring it back as it was and run again"
    return f"{name} ({in_words(theirs)}, not {in_words(mine)}); run it with its own options"


def _described(plan: Plan) -> dict[str, Any]:
    return as_reported(
        {
            "target": plan.name,
            **plan.settings(),
            "experiments": plan.experiments,
            "filesystems_named": plan.filesystems_named,
            "seed": plan.seed,
            "shard": str(plan.shard),
            "versions": versions((*PACKAGES, "lmdb")),
            "program": program_of(plan),
        }
    )


def as_reported(value: dict[str, Any]) -> dict[str, Any]:
    """Return settings as a report has them, with lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def program_of(plan: Plan) -> str:
    """Return a digest of the file that the target lives in; empty if it cannot be read, which loading it will report."""
    return digest_of(Target(plan.target).file)


def digest_of(file: Path | None) -> str:
    """Return a digest of a file; empty if there is none, or it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file else ""
    except OSError:
        return ""
