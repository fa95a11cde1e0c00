"""An experiment in one file: after the workload's end, one file of the folder is emptied. Tests add it to the registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crashmatrix.reports import Labels, ScenarioResult
from crashmatrix.reports.findings import group
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import (
    Alternative,
    CrashedFolder,
    CrashPoint,
    ExperimentOptions,
    Explained,
    Listener,
    StoredRun,
    Workbench,
)
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.shards import plan_digest
from crashmatrix.scenarios.target.journal import Promises

NOTHING = "nothing"
"""The point at which no file is emptied."""


def emptied(checker: Checker, folder: Path, point: str) -> CrashState:
    """Run the workload in a folder, and empty one file, named by its path below ``root``."""
    root, journal = folder / ROOT_NAME, folder / "journal"
    root.mkdir()
    items = checker.must("prepare", checker.run(work.prepare, root))
    checker.must("the workload", checker.run(work.workload, root, journal, (), None))
    if point != NOTHING:
        (root / point).write_bytes(b"")
    return CrashState(checker.store.capture(root), Promises.parse(journal.read_bytes(), items))


@dataclass
class EmptyExperiment:
    checker: Checker
    options: ExperimentOptions
    listener: Listener
    details: dict[str, Any] = field(default_factory=dict)
    confirmed: bool = True
    results: list[ScenarioResult] = field(default_factory=list)

    def run(self) -> None:
        folder = self.checker.folder()
        emptied(self.checker, folder, NOTHING)
        files = sorted(
            str(path.relative_to(folder / ROOT_NAME)) for path in (folder / ROOT_NAME).rglob("*") if path.is_file()
        )
        plan = [NOTHING, *files][: self.options.budget or EMPTY.budget]
        self.details.update(plan=plan_digest(plan), notes=[f"{len(plan)} places, named {EMPTY.labels.point}s"])
        mine = self.options.shard.deal(plan)
        self.listener.planned("emptying files", len(mine))
        for point in mine:
            self._judge(point)
            if self.options.until_broken and self.results[-1].verdict.broken:
                return

    def _judge(self, point: str) -> None:
        state = emptied(self.checker, self.checker.folder(), point)
        checked = self.checker.check(state)
        name = f"empty:{point}"
        result = ScenarioResult(
            id=name, experiment="empty", point=point, hit=1, depth=0, method="emptied", fault=f"empty {point}",
            verdict=checked.verdict, explanation=checked.explanation, state=state.digest,
            replay=self.options.replay_command(name),
        )  # fmt: skip
        self.results.append(result)
        self.listener.result(result)

    def ordered(self) -> list[ScenarioResult]:
        return list(self.results)

    def explain(self) -> Explained:
        found = [each for each in group(self.results) if each.finding.verdict.broken]
        return Explained(
            [replace(each.finding, cause=f"{each.results[0].point} was emptied") for each in found],
            ["explained by a toy"],
        )


@dataclass(frozen=True)
class EmptyScenario:
    point: str

    def replay(self, workbench: Workbench, keep: Path | None) -> Checked:
        with workbench() as checker:
            state = emptied(checker, checker.folder(), self.point)
            if keep is not None:
                keep.mkdir(parents=True)
                checker.store.restore(state.tree, keep / "crashed")
            return checker.check(state)

    @contextmanager
    def crashed(self, workbench: Workbench) -> Iterator[CrashedFolder]:
        with workbench() as checker:
            folder = checker.folder()
            emptied(checker, folder, self.point)
            yield CrashedFolder(folder / ROOT_NAME, f"the folder in which {self.point} was emptied")


class Empty:
    name = "empty"
    dies: Literal["process"] = "process"
    default = True
    budget = 50
    counts = "files"
    modules = ()
    labels = Labels("file", "emptying")
    missing = ""
    """The answer of `lacking`."""

    def lacking(self, options: ExperimentOptions) -> str:
        return "" if "posix" in options.filesystems else self.missing

    def described(self, options: ExperimentOptions) -> str:
        return f"{self.name} on {', '.join(options.filesystems)}"

    def alternative(self, options: ExperimentOptions) -> Alternative | None:
        return Alternative(replace(options, filesystems=("posix",)), "--fs posix can run here")

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> EmptyExperiment:
        return EmptyExperiment(checker, options, listener or Listener())

    def searches(self, checker: Checker, options: ExperimentOptions) -> Iterator[EmptyExperiment]:
        for budget in (1, self.budget):  # The first search finds nothing, for it empties nothing.
            yield self.experiment(checker, replace(options, budget=budget))

    def points(self, checker: Checker) -> Sequence[CrashPoint]:
        del checker
        return (CrashPoint("empty.any_file", 7, "no bytes"),)

    def scenario(self, name: str, stored: StoredRun) -> EmptyScenario:
        point = name.partition(":")[2]
        if not stored.details:
            raise UsageError(f"{stored.options.report} has no experiment {self.name}")
        return EmptyScenario(point)


class FailsHalfway(Empty):
    """Its experiment fails only while it runs."""

    name = "fails"

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> EmptyExperiment:
        raise UsageError("this cannot be run")


EMPTY = Empty()
