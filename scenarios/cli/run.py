"""The command that crashes targets: ``crashmatrix run``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crashmatrix.faults.disk import FILESYSTEMS
from crashmatrix.reports.formats.console import show_run, show_target, show_targets
from crashmatrix.reports.several.pages import read_targets
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS, MEANT_FOR, budgets, by_default
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.cli.arguments import TARGET_NAMES, Seed, experiments_of, filesystems_of, targets_of
from crashmatrix.scenarios.cli.bar import Bar
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.shards import Shard

if TYPE_CHECKING:  # Only commands that judge need it, and what it needs.
    from crashmatrix.scenarios.campaign.campaign import Campaign

__all__ = ["app"]

JOBS_PER_PROCESSOR_MAX = 16
"""More make a run slower: each is a process with a mount of its own."""

REPORT, REPORTS = Path("crashmatrix-report"), Path("crashmatrix-reports")

app = typer.Typer()
_out = Console(soft_wrap=False)


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET", show_default=False,
        help=f"{TARGET_NAMES} Several, or a pattern such as 'sqlite:*': each in turn.  [default: reference]",
    ),
]  # fmt: skip
Filesystems = Annotated[
    str | None,
    typer.Option(
        help=f"Filesystems for power cuts, and disks that fail: {', '.join(FILESYSTEMS)}, or ext4:data=writeback. "
        "Default: ext4, or posix where ext4 is not possible."
    ),
]
ReportDirectory = Annotated[
    Path | None,
    typer.Option(
        help=f"Report directory; with several targets, one with a report for each. Default: {REPORT}, or {REPORTS}.",
        show_default=False,
    ),
]
Budget = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10**9,
        help="How many places to crash at (power: outcomes, io-error: faults); crashes of recoveries, second lives and samples "
        f"come on top. Default: {budgets()}.",
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(min=1, help="Stop after so many seconds, explanations included. Exit status 3, unless broken."),
]


@app.command(short_help="Crash targets everywhere, recover, and judge them.")
def run(
    targets: Names = None,
    experiments: Annotated[
        str | None,
        typer.Option(help=f"Experiments: {','.join(EXPERIMENTS)}. Default, if possible: {','.join(by_default())}."),
    ] = None,
    fs: Filesystems = None,
    require: Annotated[
        str | None,
        typer.Option(help=f"Experiments without which the exit status is 3 (unknown): {','.join(EXPERIMENTS)}."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Scenarios judged at a time. Default: one per processor.")
    ] = None,
    seed: Seed = 0,
    budget: Budget = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Run part I of N; crashmatrix merge combines the reports.")
    ] = "1/1",
    report: ReportDirectory = None,
    cluster: Annotated[
        str, typer.Option(help="Judge on a Dask cluster: tcp://SCHEDULER:8786, or local:N for N workers here.")
    ] = "",
    time_limit: TimeLimit = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in the report directory, if there is one.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Your own rows, a Parquet or CSV file (target reference only).")
    ] = None,
    timestamp: Annotated[str | None, typer.Option(help="Time column of --data.")] = None,
    tags: Annotated[str | None, typer.Option(help="Columns of --data that identify a series: A,B.")] = None,
) -> None:
    """Crash each TARGET everywhere, recover, and say whether it kept its promises."""
    # A user who names a filesystem wants it tried.
    named = experiments_of(experiments) or (() if fs is None else by_default())
    plan = Plan(
        required=experiments_of(require),
        seed=seed, workers=_workers(jobs, cluster), budget=budget,
        filesystems=filesystems_of(fs) or ("ext4",), filesystems_named=fs is not None, or_alternative=fs is None,
        shard=Shard.parse(shard), report=report or REPORT, seconds_max=time_limit, cluster=cluster, resume=resume,
    )  # fmt: skip
    plans = [
        replace(
            plan,
            **one,
            options=_options(one["target"], data, timestamp, tags),
            experiments=named or MEANT_FOR.get(one["target"], ()),
        )
        for one in targets_of(targets or ["reference"])
    ]
    if len(plans) == 1:
        _run_one(plans[0])
    else:
        _run_several(plans, report or REPORTS)


def _run_one(plan: Plan) -> None:
    from crashmatrix.scenarios.campaign.campaign import Campaign

    campaign = Campaign(plan)
    try:
        _run_with_bar(campaign)
    except KeyboardInterrupt:
        show_run(_out, campaign.summary, campaign.results, plan.report)
        raise
    show_run(_out, campaign.summary, campaign.results, plan.report)
    raise typer.Exit(campaign.summary.verdict.exit_status)


def _run_several(plans: list[Plan], directory: Path) -> None:
    from crashmatrix.scenarios.campaign.several import Several

    try:
        found = Several(plans, directory, _run_and_show).run()
    except KeyboardInterrupt:
        if found_so_far := read_targets(directory):
            show_targets(_out, found_so_far, directory)
        raise
    show_targets(_out, found, directory)
    raise typer.Exit(found.verdict.exit_status)


def _run_with_bar(campaign: Campaign) -> None:
    campaign.listener = bar = Bar(_out)
    with bar.bar:
        campaign.run()


def _run_and_show(campaign: Campaign) -> None:
    _run_with_bar(campaign)
    show_target(_out, campaign.summary, campaign.results, campaign.plan.report)


def _options(target: str, data: str | None, timestamp: str | None, tags: str | None) -> dict[str, Any]:
    given = {"data": data, "timestamp": timestamp, "tags": tags.split(",") if tags is not None else None}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options and target != "reference":
        raise UsageError(f"--{next(iter(options))} goes with target reference only")
    if "data" in options:
        options["data"] = str(Path(options["data"]).absolute())
        if timestamp is None:
            raise UsageError("--data needs --timestamp COLUMN as well (and --tags A,B, if rows belong to series)")
        options.setdefault("tags", [])
    return options


def _workers(jobs: int | None, cluster: str) -> int:
    processors = len(os.sched_getaffinity(0))
    if cluster:
        return jobs or 0  # As many as the cluster has.
    if jobs is not None and jobs > (most := JOBS_PER_PROCESSOR_MAX * processors):
        raise UsageError(f"--jobs {jobs} is too many for {processors} processors; name {most} at most")
    return jobs or processors
