"""The command line: ``crashmatrix init | run | replay | targets | failpoints | mutants | mutate | soak | worker | report | diff |
merge | doctor``.

Exit status: 0 safe, 1 a promise broken, 3 unknown; `crashmatrix.scenarios.cli.main` handles all others.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crashmatrix.reports import ReportError
from crashmatrix.reports.formats.text import counted
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.cli import long, mutate as cli_mutate, reports as cli_reports, run as cli_run
from crashmatrix.scenarios.cli.arguments import TARGET_NAMES, Seed, target_of
from crashmatrix.scenarios.cli.doctor import examine
from crashmatrix.scenarios.cli.init import LANGUAGES, write_target
from crashmatrix.scenarios.cli.refusal import DEBUG, Refused
from crashmatrix.scenarios.errors import ScenarioError, UsageError
from crashmatrix.scenarios.extras import extra_installed
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.systems.import_path import look_in

__all__ = ["app", "call"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(cli_run.app)
app.add_typer(cli_reports.app)
app.add_typer(cli_mutate.app)
app.add_typer(long.app)
_out = Console(soft_wrap=False)

Report = Annotated[Path, typer.Option("--report", help="Report directory.")]
TargetName = Annotated[str, typer.Argument(help=TARGET_NAMES)]


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the file to write: my_store.")],
    language: Annotated[
        str | None,
        typer.Option(help=f"{' or '.join(LANGUAGES)}; toml is for all other languages.", show_default="python"),
    ] = None,
) -> None:
    """Write a commented target file to start from."""
    path, target = write_target(name, language)
    _say(f"wrote {path}; it runs as it stands:\n  crashmatrix run {shlex.quote(target)}")


@app.command(name="replay", short_help="Run one scenario of a report again.")
def replay_(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO_ID", help="Id of the scenario; the report lists them.")],
    report: Report = Path("crashmatrix-report"),
    keep: Annotated[Path | None, typer.Option(help="New folder for the crashed folder and its journal.")] = None,
    shell: Annotated[
        bool, typer.Option("--shell", help="Open a shell in the crashed folder, before recovery.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run the report's target, wherever its file is.")] = False,
) -> None:
    """Run one scenario of a report again: kill the process at the same place, or rebuild the disk that a power cut left."""
    from crashmatrix.scenarios.campaign.replay import changed, check_trusted, replay
    from crashmatrix.scenarios.cli.shell import open_shell

    if not trust:
        check_trusted(report)
    if remark := changed(report):
        _say(remark)
    if shell:
        if keep is not None:
            raise UsageError("--shell and --keep are two runs; choose one of them")
        open_shell(scenario, report, _say)
        return
    found = replay(scenario, report, keep)
    _say(f"{scenario}: {found.checked.verdict}")
    if found.checked.explanation:
        _say(f"  {found.checked.explanation}")
    if found.kept is not None:
        _say(f"  kept in {found.kept}: {', '.join(sorted(entry.name for entry in found.kept.iterdir()))}")
    raise typer.Exit(found.checked.verdict.exit_status)


@app.command()
def targets() -> None:
    """List the systems that come with crashmatrix."""
    table = _table("target", "description")
    for name, built_in in sorted(BUILT_IN.items()):
        table.add_row(escape(name), escape(built_in.about))
    _out.print(table)


@app.command(short_help="List the failpoints of a target.")
def failpoints(target: TargetName = "reference") -> None:
    """List the failpoints of a target, and how often its undisturbed workload hits each."""
    from crashmatrix.scenarios.campaign.workbench import workbench

    plan = Plan(**target_of(target))
    with workbench(plan) as (checker, _):
        points = [point for kind in EXPERIMENTS.values() for point in kind.points(checker)]
    table = _table("failpoint", "hits", "what a crash there finds")
    for point in points:
        table.add_row(escape(point.name), str(point.hits or ""), escape(point.description))
    _out.print(table)


@app.command(short_help="Plant bugs, and see whether each is found.")
def mutants(
    names: Annotated[
        list[str] | None, typer.Argument(help="Planted bugs to try. Default: all, and the unbroken engine.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List the planted bugs; run nothing.")] = False,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many seeds to try, beginning with --seed.")] = 1,
) -> None:
    """Plant bugs in the reference engine, one at a time, and see whether each is found. Exit status 1: one was not."""
    with extra_installed("crashmatrix mutants"):  # Here: no other command needs the reference engine.
        from crashmatrix.scenarios.campaign.mutation import try_mutant
        from crashmatrix.scenarios.systems.reference.mutation.mutants import MUTANTS, mutant

    chosen = [mutant(name).name for name in names or MUTANTS]
    if only_list:
        table = _table("planted bug", "what dies", "what is broken")
        for row in map(mutant, chosen):
            table.add_row(row.name, row.dies, escape(row.broken))
        _out.print(table)
        return
    runs = [(name, seed + more) for name in ([*chosen] if names else [*chosen, ""]) for more in range(seeds)]
    missed = 0
    for name, of_seed in runs:
        found = try_mutant(name, seed=of_seed, workers=len(os.sched_getaffinity(0)))
        missed += not found.as_it_should_be
        mark = "ok    " if found.as_it_should_be else "MISSED"
        what = f"{found.verdict:<11} {counted(found.scenarios, 'scenario'):>15} {found.seconds:6.1f} s  {found.id}"
        _out.print(f"{mark} {name or 'the unbroken engine':<24} {what}", markup=False, highlight=False, soft_wrap=True)
    _out.print(f"{len(runs) - missed} of {len(runs)} as they should be", highlight=False)
    raise typer.Exit(1 if missed else 0)


@app.command(short_help="Say what this machine can run.")
def doctor() -> None:
    """Say what this machine can run, and what is missing for the rest."""
    findings = examine()
    table = _table("", "", "")
    for finding in findings:
        mark = "[green]ok[/]" if finding.well else ("[red]missing[/]" if finding.needed else "[yellow]no[/]")
        table.add_row(mark, escape(finding.what), escape(finding.detail))
    _out.print(table)
    raise typer.Exit(2 if any(finding.needed and not finding.well for finding in findings) else 0)


def _say(text: str) -> None:
    _out.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        table.add_column(column)
    return table


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        _out.print(f"crashmatrix {metadata.version('crashmatrix')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Print the traceback of an internal error.")] = False,
) -> None:
    """Crash a storage system everywhere, let it recover, and see whether it kept its promises."""


def call(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit status. Raises `Refused` for every expected failure."""
    look_in(str(Path.cwd()))  # For package.module:Class.
    try:
        status = app(list(arguments) or ["--help"], prog_name="crashmatrix", standalone_mode=False)
    except (ScenarioError, ReportError) as error:
        raise Refused(str(error)) from error
    except Exception as error:
        if not hasattr(error, "format_message"):  # The option parser's errors have it.
            raise
        raise Refused(_usage(error, arguments)) from error
    return status if isinstance(status, int) else 0


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """Return the option parser's message, and where to read more."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else _command(arguments)
    text = error.format_message().rstrip(".")
    if number := re.match(r"Invalid value for '(-[\w-]+)': Input should be a valid (integer|number)", text):
        kind = "whole number" if number[2] == "integer" else "number"
        text = f"{number[1]}: {_value(number[1], arguments)!r} is not a {kind}"
    return f"{text} See: {command} --help" if text.endswith("?") else f"{text}; see: {command} --help"


def _command(arguments: Sequence[str]) -> str:
    known = {each.name or getattr(each.callback, "__name__", "") for each in _commands(app)}
    return f"crashmatrix {arguments[0]}" if arguments and arguments[0] in known else "crashmatrix"


def _commands(of: typer.Typer) -> Iterator[Any]:
    yield from of.registered_commands
    for group in of.registered_groups:
        if group.typer_instance:
            yield from _commands(group.typer_instance)


def _value(option: str, arguments: Sequence[str]) -> str:
    """Return what stands behind an option: the last one counts."""
    given = [""]
    for argument, after in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument == option:
            given.append(after)
        elif argument.startswith(f"{option}="):
            given.append(argument.partition("=")[2])
    return given[-1]
