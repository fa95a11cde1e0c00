"""The command that plants bugs in a user's store: ``crashmatrix mutate TARGET``."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from crashmatrix.reports.folder import Folder
from crashmatrix.reports.formats.console import progress
from crashmatrix.scenarios.cli.arguments import experiments_of, filesystems_of
from crashmatrix.scenarios.systems.loading import whole_name

if TYPE_CHECKING:  # The other commands begin without them.
    from crashmatrix.scenarios.mutation.attempt import Settings, Stage
    from crashmatrix.scenarios.mutation.mutant import SourceMutant
    from crashmatrix.scenarios.mutation.results import Tried
    from crashmatrix.scenarios.mutation.survivors import Score

__all__ = ["app"]

app = typer.Typer()
_out = Console(soft_wrap=True)
_JUDGE = "harness"


@app.command(short_help="Plant bugs in your own store, and see which of them your harness misses.")
def mutate(
    target: Annotated[str, typer.Argument(help="file.py:Class or package.module:Class; file.toml with --source.")],
    source: Annotated[
        list[Path] | None,
        typer.Option(
            help="Python file to plant bugs in; may be repeated. Default: the modules of the target's folder."
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many bugs to try.")] = 100,
    budget: Annotated[int, typer.Option(min=1, help="Budget of each experiment; see crashmatrix run.")] = 200,
    experiments: Annotated[str | None, typer.Option(help="Experiments. Default: those of crashmatrix run.")] = None,
    fs: Annotated[str, typer.Option(help="Filesystems for power cuts.")] = "posix",
    seed: Annotated[int, typer.Option(help="Draws the sample, and seeds the experiments.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Bugs tried at a time. Default: one per processor.", show_default=False)
    ] = None,
    equivalent: Annotated[
        Path | None, typer.Option(help="TOML file of mutants that are no bugs, with the reasons.")
    ] = None,
    directory: Annotated[Path, typer.Option("--report", help="Directory for the results.")] = Path(
        "crashmatrix-mutants"
    ),
    only_list: Annotated[bool, typer.Option("--list", help="List the bugs of the sample; run nothing.")] = False,
) -> None:
    """Plant bugs in TARGET's store, one at a time, and see which of them your harness misses. Exit status 1: it misses one.

    An interrupted run goes on where it ended.
    """
    from crashmatrix.scenarios.mutation.attempt import Settings
    from crashmatrix.scenarios.mutation.chosen import mutants_for, sources_of, stages_for
    from crashmatrix.scenarios.mutation.mutant import sampled
    from crashmatrix.scenarios.mutation.results import SURVIVORS, claim, equivalents
    from crashmatrix.scenarios.mutation.survivors import Score, report, scores, survivors

    target = whole_name(target)
    files = [*source] if source else sources_of(target)
    everything = mutants_for(target, files)
    mutants = sampled(everything, sample, seed)
    if only_list:
        for mutant in mutants:
            _say(f"{mutant.id}  line {mutant.line}: {mutant.about}")
        return
    known = equivalents(equivalent) if equivalent else {}
    stages = stages_for(experiments_of(experiments), filesystems_of(fs), budget)
    claim(directory)
    settings, workers = Settings(target, stages, seed), jobs or len(os.sched_getaffinity(0))
    tried = _run(settings, files, mutants, directory, workers)
    about = f"Sample: {len(mutants)} of {len(everything)} mutants, seed {seed}; experiments: {_shown(stages)}."
    with Folder.open(directory) as folder:
        folder.write(SURVIVORS, report(target, mutants, tried, known, about).encode(errors="backslashreplace"))
    missed = survivors(mutants, tried, known, [_JUDGE])
    score = scores(mutants, tried, known, [_JUDGE]).get("", Score())
    _show(target, missed, tried, score, directory)
    raise typer.Exit(1 if missed else 3 if score.undecided else 0)


def _run(
    settings: Settings, files: list[Path], mutants: list[SourceMutant], directory: Path, workers: int
) -> Mapping[str, Tried]:
    from crashmatrix.scenarios.mutation.harness import Harness, undisturbed
    from crashmatrix.scenarios.mutation.mutation_run import run_mutants
    from crashmatrix.scenarios.mutation.results import RESULTS, ResultsFile

    results = ResultsFile(directory / RESULTS, _key(settings, files))
    done = {mutant.id: tried for mutant in mutants if (tried := results.of(mutant))}
    if len(done) == len(mutants):
        return done
    stop = threading.Event()
    with progress(_out) as bar:
        task = bar.add_task("without a bug", total=len(mutants), completed=len(done))
        harness = Harness(settings, undisturbed(settings, {mutant.path for mutant in mutants}, stop))
        bar.update(task, description="planting bugs")
        return run_mutants(
            mutants,
            lambda mutant, stop: {_JUDGE: harness.judge(mutant, stop)},
            results,
            workers=workers,
            heard=lambda *_: bar.update(task, advance=1),
            stop=stop,
        )


def _key(settings: Settings, files: list[Path]) -> str:
    """Return a digest of everything that the results depend on: the harness and the store, whole, and what judges them."""
    from crashmatrix.scenarios.campaign.versions import versions
    from crashmatrix.scenarios.mutation.results import digest
    from crashmatrix.scenarios.systems.program_files import program_digests

    sources = sorted(digest(file.read_text("utf-8")) for file in files)
    program = program_digests(settings.target)
    return digest(msgspec.json.encode([settings, sources, program, versions()]).decode())


def _show(target: str, missed: list[SourceMutant], tried: Mapping[str, Tried], score: Score, directory: Path) -> None:
    from crashmatrix.scenarios.mutation.survivors import additions

    bugs = f"{score.counted} {'bug' if score.counted == 1 else 'bugs'}"
    if not missed:
        _say(f"your harness of {target} notices all of {bugs}")
    else:
        _say(f"your harness of {target} would miss {len(missed)} of {bugs}; add to the workload:")
        for line in additions(missed, tried, _JUDGE):
            _say(f"  {line}")
        _say("")
        for mutant in missed:
            _say(f"  {mutant.module}, line {mutant.line}, {mutant.function}: {mutant.about}")
    if score.undecided:
        _say(f"undecided: {score.undecided}; the harness itself failed")
    _say(f"diffs: {directory / 'survivors.md'}")


def _shown(stages: tuple[Stage, ...]) -> str:
    return ", ".join(f"{stage.experiment} (budget {stage.budget})" for stage in stages)


def _say(text: str) -> None:
    _out.print(text, markup=False, highlight=False, soft_wrap=True)
