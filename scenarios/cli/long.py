"""The commands for long campaigns: ``crashmatrix soak | worker``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crashmatrix.reports.findings import moved_command
from crashmatrix.reports.formats.text import counted, visible
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.cli.arguments import experiments_of, target_of
from crashmatrix.scenarios.extras import extra_installed

if TYPE_CHECKING:
    from crashmatrix.scenarios.campaign.soak import SoakState

__all__ = ["app"]

app = typer.Typer()
_out = Console(soft_wrap=True, markup=False, highlight=False)


@app.command(short_help="Crash a target with new seeds until the time is up.")
def soak(
    target: Annotated[str, typer.Argument(help="As for crashmatrix run.")],
    hours: Annotated[float, typer.Option(min=0.001, help="How long, over all restarts in the same directory.")],
    experiments: Annotated[str | None, typer.Option(help=f"Experiments: {','.join(EXPERIMENTS)}.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    budget: Annotated[int | None, typer.Option(min=1, help="As for crashmatrix run.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Scenarios judged at a time.")] = 2,
    until_broken: Annotated[bool, typer.Option("--until-broken", help="Stop at the first broken promise.")] = False,
    report: Annotated[Path, typer.Option("--report", help="Directory of the soak. Named again, it goes on.")] = Path(
        "crashmatrix-soak"
    ),
) -> None:
    """Crash TARGET with new seeds until the time is up. Findings of several seeds that are equal are one.

    Exit status: 0 all seeds safe, 1 a promise broken, 3 unknown.
    """
    from crashmatrix.scenarios.campaign.soak import Soak

    plan = Plan(
        **target_of(target), experiments=experiments_of(experiments), or_alternative=True, seed=seed, budget=budget,
        workers=jobs, until_broken=until_broken, report=report,
    )  # fmt: skip
    state = Soak(plan, hours * 3600, _out.print).run()
    _show(state, report)
    raise typer.Exit(state.verdict.exit_status)


@app.command(short_help="Join a cluster and judge crashes for it.")
def worker(
    scheduler: Annotated[str, typer.Argument(metavar="ADDRESS", help="The Dask scheduler: tcp://HOST:8786.")],
    jobs: Annotated[int | None, typer.Option(min=1, help="Workers to start. Default: one per processor.")] = None,
) -> None:
    """Join a Dask cluster with workers that judge crashes, until its scheduler is gone."""
    with extra_installed("crashmatrix worker"):
        import distributed  # noqa: F401  # before anything is said
    from crashmatrix.scenarios.campaign.cluster.worker import resources, serve, version

    can, cannot = resources()
    _out.print(f"{version()}; can run: {', '.join(name for name in can if name != version())}")
    for name, reason in cannot.items():
        _out.print(f"cannot run {name}: {reason}")
    serve(scheduler, jobs or len(os.sched_getaffinity(0)))


def _show(state: SoakState, report: Path) -> None:
    for name, finding in state.findings.items():
        _out.print(f"\n{finding.verdict}  {visible(name)}")
        _out.print(f"  {visible(finding.cause or finding.title)}")
        _out.print(
            f"  {counted(finding.scenarios, 'scenario')} with {counted(len(finding.seeds), 'seed')}, first with seed "
            f"{finding.seeds[0]}"
        )
        _out.print(f"  again: {visible(moved_command(finding.replay, report / finding.report))}")
    more = "; 1 more begun and not finished" if state.begun else ""
    _out.print(
        f"\n{state.verdict}: {counted(state.seeds_done, 'seed')}, {counted(state.scenarios, 'scenario')}, "
        f"{counted(len(state.findings), 'finding')}{more}  directory: {report}"
    )
