"""Merge the reports of a run's shards into the report of the whole run.

Counts add up, coverage is that of all shards together, and the verdict is the worst. The verdict is at best ``unknown`` if a
shard's report is missing or interrupted, or if the shards planned different crashes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crashmatrix.reports.findings import better, finding_ids, moved_command
from crashmatrix.reports.folder import Folder, NotAFile, is_leftover
from crashmatrix.reports.result import ExperimentSummary, Finding, RunSummary, ScenarioResult
from crashmatrix.reports.store import TRACES, ReportError, ReportWriter, keep_trace, read_report
from crashmatrix.reports.verdict import Verdict, worst

__all__ = ["Merged", "merge", "merge_directories"]

_LARGEST = {"depth_max", "failpoints_declared"}
"""Numbers of which the largest counts; other numbers are counts, and add up."""

_OF_A_MACHINE = {"shard", "versions", "binaries"}
"""Parts of a plan in which the shards of one run may differ."""


@dataclass(frozen=True)
class Merged:
    """A merged report, and the directories without a finished report, each with the reason."""

    summary: RunSummary
    results: list[ScenarioResult]
    unreadable: dict[Path, str]


def merge_directories(out: Path, directories: Sequence[Path]) -> Merged:
    """Merge report directories into a new one, traces included.

    Raises:
        ReportError: there is nothing to merge, the parts are not of one run, or ``out`` is one of them.
    """
    if os.path.realpath(out) in map(os.path.realpath, directories):  # Unlike Path.resolve, it accepts a link to itself.
        raise ReportError(
            f"{out} is one of the reports to merge; name a new directory first: crashmatrix merge OUT DIR..."
        )
    parts, unreadable = [], {}
    for directory in directories:
        try:
            parts.append((directory, *read_report(directory)))
        except ReportError as error:
            unreadable[directory] = str(error)
    if not parts:
        raise ReportError("; ".join(unreadable.values()) or "nothing to merge; name the shards' report directories")
    traces = [trace for directory, _, _ in parts for trace in _traces(directory)]
    summary, results = merge([(part, found) for _, part, found in parts], out)
    with ReportWriter(out) as writer:
        writer.finish(summary, results)
        for trace in traces:
            keep_trace(trace, out / TRACES)
    return Merged(summary, results, unreadable)


def _traces(directory: Path) -> list[Path]:
    """Return a report's traces. Raises ReportError for anything but files: a link would bring in a file from elsewhere."""
    try:
        with Folder.open(directory / TRACES) as folder:
            names = [name for name in folder.names() if not is_leftover(name)]
            other = [f"{folder.path}/{name} is {kind}" for name in names if (kind := folder.kind(name))]
    except FileNotFoundError:
        return []
    except NotAFile as error:
        names, other = [], [f"{directory / TRACES}: {error}"]
    except OSError as error:
        raise ReportError(
            f"{directory / TRACES}: {error.strerror}; a report's traces are files in a directory"
        ) from None
    if other:
        raise ReportError(f"{other[0]}, which is not merged: a report's traces are files; remove it and merge again")
    return [directory / TRACES / name for name in names]


def merge(
    parts: Sequence[tuple[RunSummary, list[ScenarioResult]]], out: Path
) -> tuple[RunSummary, list[ScenarioResult]]:
    """Merge the shards of one run; ``out`` goes into the replay commands. Raises ReportError."""
    parts = sorted(parts, key=lambda part: _number(part[0].shard))
    summaries = [summary for summary, _ in parts]
    of = _check(summaries)
    results = _together(result for _, found in parts for result in found)
    results = [replace(result, replay=moved_command(result.replay, out)) for result in results]
    first = summaries[0]
    have = {summary.shard for summary in summaries}
    merged = RunSummary(
        target=first.target,
        seed=first.seed,
        options=first.options,
        versions=_versions(summaries),
        not_run={name: reason for summary in summaries for name, reason in summary.not_run.items()},
        required=list(dict.fromkeys(name for summary in summaries for name in summary.required)),
        interrupted=any(summary.interrupted for summary in summaries),
        started=min(filter(None, (summary.started for summary in summaries)), default=""),
        missing_shards=[f"{number}/{of}" for number in range(1, of + 1) if f"{number}/{of}" not in have],
        findings=_findings(summaries, out),
        plan=_plan(summaries),
        chosen=list(dict.fromkeys(name for summary in summaries for name in summary.chosen)),
        target_file=first.target_file,
        target_digest=first.target_digest,
    )
    for name in dict.fromkeys(name for summary in summaries for name in summary.experiments):
        mine = [result for result in results if result.experiment == name]
        merged.experiments[name] = _experiment(name, summaries, mine)
        if lacking := merged.not_run.pop(name, "") or _lacking(name, summaries):
            merged.not_run[f"part of {name}"] = lacking
            merged.experiments[name].verdict = worst([merged.experiments[name].verdict, Verdict.UNKNOWN])
    for name in merged.chosen:
        if name not in merged.experiments:
            merged.not_run.setdefault(name, "no shard found a crash to judge")
    return merged, results


def _lacking(name: str, summaries: list[RunSummary]) -> str:
    """Say which shards have not run an experiment; empty if all have. A shard's part may be empty: then it is chosen."""
    shards = [summary.shard for summary in summaries if name not in {*summary.experiments, *summary.chosen}]
    return f"shards {', '.join(shards)} have not run it, or do not say so; run them again" if shards else ""


def _check(summaries: list[RunSummary]) -> int:
    """Return how many shards the run has. Raises ReportError if the parts are not of one run."""
    first = summaries[0]
    for other in summaries:
        if not other.shard:
            raise ReportError(
                f"a report of {other.target} is not a shard: it was run without --shard, or is already merged"
            )
        for what in ("target", "seed", "options"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise ReportError(
                    f"shards {first.shard} and {other.shard} differ in {what} ({one}, {two}), so they are not one run"
                )
    _check_plans([summary for summary in summaries if summary.plan])
    sizes = {summary.shard.partition("/")[2] for summary in summaries}
    shards = [summary.shard for summary in summaries]
    if len(sizes) > 1 or len(set(shards)) < len(shards):
        raise ReportError(f"shards {', '.join(shards)} are not the parts of one run; name each part once")
    of = int(sizes.pop())
    if beyond := [summary.shard for summary in summaries if _number(summary.shard) > of]:
        raise ReportError(f"there is no shard {beyond[0]}: the number before the slash is too large; run it again")
    return of


def _check_plans(summaries: list[RunSummary]) -> None:
    """Raise ReportError if shards were started with different plans. Machines may have other kernels, packages and builds."""
    for other in summaries[1:]:
        first = summaries[0]
        for name in dict.fromkeys((*first.plan, *other.plan)):
            one, two = first.plan.get(name), other.plan.get(name)
            if one != two and name not in _OF_A_MACHINE:
                raise ReportError(
                    f"shards {first.shard} and {other.shard} differ in {name} ({one}, {two}), so they are not one run"
                )


def _plan(summaries: list[RunSummary]) -> dict[str, Any]:
    """Return the plan of the whole run; empty if the shards' differ, or one is not known."""
    whole, *others = [{**summary.plan, "shard": ""} if summary.plan else {} for summary in summaries]
    return whole if all(other == whole for other in others) else {}


def _number(shard: str) -> int:
    number = shard.partition("/")[0]
    return int(number) if number.isdecimal() else 0


def _together(results: Iterable[ScenarioResult]) -> list[ScenarioResult]:
    """Return each scenario once, with its worst verdict. A failpoint that fired in one shard has fired."""
    results = list(results)
    fired = {result.point for result in results if result.method != "unfired"}
    rank = list(Verdict).index
    kept: dict[str, ScenarioResult] = {}
    for result in results:
        if result.method == "unfired" and result.point in fired:
            continue
        if result.id not in kept or rank(kept[result.id].verdict) < rank(result.verdict):
            kept[result.id] = result
    return list(kept.values())


def _findings(summaries: list[RunSummary], out: Path) -> list[Finding]:
    """Return each finding once: from the shard that explains most, with the counts of all shards.

    A kind that one shard showed to be another finding is that finding.
    """
    found: dict[str, Finding] = {}
    every = [finding for summary in summaries for finding in summary.findings]
    ids = finding_ids(every)
    for finding in sorted(every, key=lambda finding: finding.id in ids):
        known = found.get(ids.get(finding.id, finding.id))
        if known is None:
            found[finding.id] = finding
            continue
        best = better(known, finding) if known.id == finding.id else known
        also = tuple(dict.fromkeys((*known.also, *finding.also)))
        found[known.id] = replace(best, count=known.count + finding.count, also=also)
    return [replace(finding, replay=moved_command(finding.replay, out)) for finding in found.values()]


def _versions(summaries: list[RunSummary]) -> dict[str, str]:
    names = dict.fromkeys(name for summary in summaries for name in summary.versions)
    return {name: " or ".join(sorted({s.versions[name] for s in summaries if name in s.versions})) for name in names}


def _experiment(name: str, summaries: list[RunSummary], results: list[ScenarioResult]) -> ExperimentSummary:
    parts = {summary.shard: summary.experiments[name] for summary in summaries if name in summary.experiments}
    details = _details([part.details for part in parts.values()])
    details["notes"] = [
        f"shard {shard}: {note}" for shard, part in parts.items() for note in part.details.get("notes", [])
    ]
    if "failpoints_never_hit" in details:
        hit = {result.point for result in results}
        details["failpoints_never_hit"] = sorted(set(details["failpoints_never_hit"]) - hit)
    labels = next(iter(parts.values())).labels
    merged = ExperimentSummary.of(results, sum(part.seconds for part in parts.values()), details, labels=labels)
    plans = {part.details.get("plan") for part in parts.values()}
    if len(plans) > 1:
        details["notes"].append(
            "the shards planned different crashes, so their parts do not add up: run without --shard"
        )
        merged.verdict = worst([merged.verdict, Verdict.UNKNOWN])
    return merged


def _details(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Add counts, join lists, and take anything else from the first shard."""
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        if all(isinstance(value, list) for value in values):
            merged[name] = [one for value in values for one in value]
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            merged[name] = max(values) if name in _LARGEST else sum(values)
        else:
            merged[name] = values[0]
    return merged
