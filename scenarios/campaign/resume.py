"""Whether the run in a report directory may be gone on with, or shown if it is finished: only if it is the same run.

The same plan of the same program, judged by the same versions. Otherwise its judgements would be taken for those of another run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crashmatrix.reports import ReportError, RunSummary, ScenarioResult, read_report
from crashmatrix.reports.unfinished.ledger import Ledger
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.versions import PACKAGES, versions
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.program_files import program_digests

__all__ = ["described", "difference", "digest_of", "finished_report", "in_words", "refuse_other_run", "require"]

_KEY = "plan"
_NOT_CHOSEN = "not among --experiments; name it there"
_CHANGED = {
    "program": "the target's files, which have changed since",
    "binaries": "the target's compiled files, which have changed since",
    "rows": "the file of --data, which has changed since",
}
"""The parts of a plan that are digests, in words."""


def refuse_other_run(plan: Plan, ledger: Ledger) -> dict[str, Any]:
    """Note which run this is, and return that; refuse to go on with another one. Raises UsageError."""
    mine = described(plan)
    theirs = ledger.get(_KEY, dict[str, Any]) if ledger.resumes else None
    if theirs is None:
        ledger.put(_KEY, mine)
    elif differs := difference(theirs, mine):
        raise UsageError(
            f"the unfinished run in {plan.report} differs in {differs}; bring that back as it was, or run without --resume to "
            "begin anew"
        )
    return mine


def finished_report(plan: Plan) -> tuple[RunSummary, list[ScenarioResult]] | None:
    """Return the report of the plan's run, if it is finished: then there is nothing to go on with.

    Which experiments were required may differ, so the verdict is that of this plan's.

    Raises:
        UsageError: there is the finished report of another run, or of one that did not note its plan.
    """
    try:
        summary, results = read_report(plan.report)
    except ReportError:
        return None
    if summary.interrupted:
        return None
    instead = "name another directory with --report, or run without --resume to replace it"
    if not summary.plan:
        raise UsageError(f"the finished report in {plan.report} does not say which plan it is of; {instead}")
    if differs := difference(summary.plan, described(plan)):
        raise UsageError(f"{plan.report} has the finished report of another run, which differs in {differs}; {instead}")
    require(summary, plan.required)
    return summary, results


def require(summary: RunSummary, names: Iterable[str]) -> None:
    """Say without which experiments a run's verdict is at best unknown, in place of what was said before."""
    summary.required = [*names]
    reasons = {name: why for name, why in summary.not_run.items() if why != _NOT_CHOSEN}
    summary.not_run = {**{name: _NOT_CHOSEN for name in summary.required if name not in summary.chosen}, **reasons}


def described(plan: Plan) -> dict[str, Any]:
    """Return everything that a run's judgements depend on, as a report has it: with lists for tuples."""
    program = program_digests(plan.target)
    whole = {
        "target": plan.name,
        **plan.settings(),
        "experiments": plan.experiments,
        "filesystems_named": plan.filesystems_named,
        "seed": plan.seed,
        "shard": str(plan.shard),
        "versions": versions((*PACKAGES, "lmdb")),
        "program": program.texts,
        "binaries": program.binaries,
        "rows": _file_digest(plan.options.get("data")),
    }
    plain: dict[str, Any] = json.loads(json.dumps(whole))
    return plain


def in_words(value: object) -> str:
    """Return an option's value for people."""
    return "the default" if value is None else str(value)


def _file_digest(path: object) -> str:
    """Return a digest of a file that an option names; empty if it names none."""
    return digest_of(Path(path)) if isinstance(path, str) else ""


def digest_of(file: Path | None) -> str:
    """Return a digest of a file; empty if there is none, or it cannot be read, which the target reports."""
    try:
        if file is None or not file.is_file():
            return ""
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").hexdigest()[:16]
    except OSError:
        return ""


def difference(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """Return in which part of their plans two runs differ, with both values; empty if in none."""
    for name, value in mine.items():
        if theirs.get(name) != value:
            return _CHANGED.get(name) or f"{name} ({in_words(theirs.get(name))}, not {in_words(value)})"
    return ""
