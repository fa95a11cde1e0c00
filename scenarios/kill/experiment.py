"""The `kill` experiment: the process dies by SIGKILL before its k-th system call of a kind, or at a failpoint; in recovery, too.

1. prepare the folder; run the workload once undisturbed and count its calls, or the hits of every failpoint (`profile`)
2. run the workload again and snapshot the folder at each of those chosen: each is a crash (`exploring`)
3. judge every distinct crashed folder, and the folders that its recovery passes through (`exploring`)
4. let the system go on from what recoveries led to, and crash it in that second life (`second_lives`)
5. really kill, by SIGKILL, a seeded sample of all these scenarios, judge what is left in place, and compare with the
   snapshots (`real_kills`)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Labels, Verdict
from crashmatrix.reports.findings import group
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import (
    CrashedFolder,
    CrashPoint,
    ExperimentOptions,
    Explained,
    Listener,
    NeedsNoOptions,
    StoredRun,
    Workbench,
)
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.undisturbed import broken_undisturbed, refuse_if_broken, unfired, unreached
from crashmatrix.scenarios.judging.words import besides_the_contract, counted
from crashmatrix.scenarios.judging.worker import Hit, Profile
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import BUDGET, END, RESUMED, SAMPLE_MIN, CrashPath, parse_id, thin
from crashmatrix.scenarios.kill.profile import Prepared, prepare, prepare_once
from crashmatrix.scenarios.kill.real_kills import RealKills, crash
from crashmatrix.scenarios.kill.remaining import TimeLeft
from crashmatrix.scenarios.kill.sampling import SampledKills, declared_near, sampled_hits
from crashmatrix.scenarios.kill.second_lives import KILLS_MIN, LIVES_MIN, SecondLives
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.shards import plan_digest
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["KILL", "Kill", "KillExperiment", "KillScenario"]


@dataclass
class KillExperiment(KillExploration):
    """One kill experiment on one target. ``sample_min`` is how many scenarios are killed for real, at least."""

    sample_min: int = SAMPLE_MIN

    def run(self) -> None:
        """Run all five steps; see `crashmatrix.scenarios.experiment.Experiment`."""
        prepared = prepare_once(self.checker)
        if self._says_nothing(prepared):
            return
        chosen, note = self._chosen(prepared.profile)
        self.notes += filter(None, (prepared.note, *prepared.profile.notes, note))
        self.details.update(depth_max=self.depth_max, notes=self.notes, plan=plan_digest(chosen))
        begun = time.monotonic()
        comparable = self.snapshot_workload(prepared, chosen)
        expected = LIVES_MIN + KILLS_MIN if self.checker.system.can_resume() else 0
        self.time_left = TimeLeft(
            lives=expected, kills=self.sample_min, workload_seconds=(time.monotonic() - begun) / 2
        )
        lives = SecondLives(self)
        if self.options.sampled:
            SampledKills(self, lives, declared_near(prepared.profile, self.options.near)).run()
            self.details.update(killed_for_real=0, agreed_with_snapshot=0)
        else:
            self._explore_all(lives)
            RealKills(self, prepared, comparable, self.sample_min).run()
        lives.account()
        self._locate(prepared)
        self._account(prepared)

    def _chosen(self, profile: Profile) -> tuple[list[Hit], str]:
        if self.options.sampled:
            first = declared_near(profile, self.options.near)
            return sampled_hits(profile, self.budget, self.options.seed, first)
        return thin(profile.hits, self.budget, self.options.seed, self.checker.system.boundaries)

    def _explore_all(self, lives: SecondLives) -> None:
        if not self.options.until_broken:
            self.explore()
            lives.run()
            return
        for _ in self.search():
            if not self.broken():
                lives.run()
            if self.broken():
                return
        self.explore()
        if not self.broken():
            lives.run(everywhere=True)

    def explain(self) -> Explained:
        """Explain each kind of broken promise, from what `run` learnt; runs nothing."""
        from crashmatrix.scenarios.kill.explain import KillExplainer  # Here: most runs have nothing to explain.

        explainer = KillExplainer(self)
        return Explained(explainer.findings(), explainer.notes)

    @property
    def confirmed(self) -> bool:
        """Whether every real kill agreed with its snapshot."""
        return bool(self.details.get("killed_for_real") == self.details.get("agreed_with_snapshot"))

    def _says_nothing(self, prepared: Prepared) -> bool:
        """Report an undisturbed run after which no crash can be judged; a planted bug may show in it. Raises UsageError."""
        end = CrashState(prepared.final, prepared.promises)
        if self.checker.target.mutant or (violation := self.checker.undisturbed(end)) is None:
            return False
        refuse_if_broken(self.checker.target.name, violation, self.checker.system.contract)
        self.details.update(notes=self.notes, plan=plan_digest([END]))
        if self.options.shard.block([END]):
            self.paths.append((END,))
            self.report((END,), Checked(violation.verdict, violation.explanation), end)
        return True

    def _account(self, prepared: Prepared) -> None:
        self.declared = declared = dict(prepared.profile.declared)
        for checked in self.checked.values():
            declared.update(checked.declared)
        hit = {name for path in self.results for name, _ in path} | {name for name, _ in prepared.profile.hits}
        first = (state for state in self.states.values() if not state.resumed)
        changed = {state.tree.digest for state in first} - {self.states[(END,)].tree.digest}
        if not changed:
            self._distrust("no crash left anything else than the undisturbed run: nothing was tested")
        never = sorted(name for name in declared if name not in hit)
        self._miss_listed(prepared, hit)
        self._miss_own(never, prepared.profile.entered)
        self.details.update(
            failpoints_declared=len(declared),
            failpoints_never_hit=never,
            entered=prepared.profile.entered,
            uncovered=self._uncovered(prepared, hit),
            distinct_states=len(self.checked),
            during_recovery=sum(len(path) > 1 and RESUMED not in path for path in self.results),
        )
        if (END,) in self.results and self.results[(END,)].verdict.broken:  # Another shard may have it.
            self.details["undisturbed"] = broken_undisturbed(self.results[(END,)])
        self.notes += filter(None, [self.checker.patience.rule])
        if never:
            self.notes.append(f"failpoints never hit: {', '.join(never)}")
        if entered := prepared.profile.entered:
            rows = ", ".join(f"{name.removeprefix('rows.')} {count}" for name, count in entered.items())
            self.notes.append(f"rows of recovery's tables that the workload entered, and how often: {rows}")
        self.notes.append(
            f"{counted(len(self.checked), 'distinct state')} judged, crashes in recovery up to {self.depth_max} deep; "
            f"{counted(self.details['killed_for_real'], 'scenario')} also killed for real, "
            f"{self.details['agreed_with_snapshot']} of them as in the snapshot"
        )
        self.notes += filter(None, [self._besides()])

    def _besides(self) -> str:
        """Say what was checked besides the contract, in states that it found safe; second lives are left out."""
        recovered = [checked.recovered for checked in self.checked.values() if checked.recovered]
        folders = {each.key for each in recovered}
        verifies = self.checker.system.verify is not SystemUnderTest.verify
        return besides_the_contract(counted(len(recovered), "state") if verifies and recovered else "", len(folders))

    def _locate(self, prepared: Prepared) -> None:
        """Run the workload once more to learn what its system calls do, and where, at the examples of findings."""
        groups = [found for found in group(self.ordered()) if found.finding.verdict.broken]
        first = [hit for (hit,) in (path for path in self.states if len(path) == 1)]
        wanted = {parse_id(found.finding.example)[0] for found in groups}
        wanted |= {before for before, hit in pairwise(first) if hit in wanted}
        if not self.checker.target.watch_calls or not wanted or self.options.until_broken:
            return
        folder = self.checker.folder()
        root = folder / ROOT_NAME
        self.checker.store.restore(prepared.tree, root)
        result = self.checker.run(work.places, root, folder / "journal", wanted)
        if isinstance(result, Returned):  # Otherwise the findings name calls only.
            self.places = result.value
        remove_tree(folder)

    def _miss_listed(self, prepared: Prepared, hit: Collection[str]) -> None:
        """A failpoint that the target lists, and that never fired, is ``unknown``."""
        for name in prepared.profile.listed:
            path = ((name, 1),)
            if name not in hit and path not in self.results:
                self.paths.append(path)
                self.report(path, Checked(Verdict.UNKNOWN, unfired(name, prepared.unseen)), method="unfired")

    def _miss_own(self, never: Collection[str], entered: Mapping[str, int]) -> None:
        """A built-in target's workload reaches every failpoint and enters every row, with any seed; else it is ``unknown``."""
        target = self.checker.target
        if target.name not in BUILT_IN or target.mutant:
            return
        for name in (*never, *(name for name, count in entered.items() if not count)):
            path = ((name, 1),)
            self.paths.append(path)
            self.report(path, Checked(Verdict.UNKNOWN, unreached(name)), method="unfired")

    def _uncovered(self, prepared: Prepared, hit: Collection[str]) -> list[str]:
        """Return the words for the verdict line on everything at which no crash was tried."""
        listed = prepared.profile.listed
        never = [name for name in listed if name not in hit]
        some = f"{len(never)} of the {len(listed)} failpoints listed, which never fired: {', '.join(never)}"
        return [*prepared.profile.uncovered, *([some] if never else [])]

    def _distrust(self, reason: str) -> None:
        for path, result in self.results.items():
            if result.verdict is Verdict.SAFE:
                self.results[path] = replace(result, verdict=Verdict.UNKNOWN, explanation=reason)


@dataclass(frozen=True)
class KillScenario:
    """One path of kills, made again by SIGKILL."""

    name: str
    path: CrashPath

    def replay(self, workbench: Workbench, keep: Path | None) -> Checked:
        """Kill, recover and judge; ``keep`` gets ``crashed``, ``journal`` and ``recovered``."""
        with workbench() as checker:
            folder = checker.folder()
            state = crash(checker, prepare(checker), self.path, folder)
            if isinstance(state, Checked):
                return state
            if keep is not None:
                keep.mkdir(parents=True)
                if not state.tree.unusable:
                    checker.store.restore(state.tree, keep / "crashed")
                for name in ("journal", "resumed-journal"):
                    if (folder / name).exists():
                        shutil.copyfile(folder / name, keep / name)
            root = folder / ROOT_NAME
            checked = checker.check_in_place(state, root)
            if keep is not None and not (recovered := checker.store.capture(root)).unusable:
                checker.store.restore(recovered, keep / "recovered")
            return checked

    @contextmanager
    def crashed(self, workbench: Workbench) -> Iterator[CrashedFolder]:
        """Kill; for the block, the folder is as the killed process left it. Raises UsageError."""
        with workbench() as checker:
            folder = checker.folder()
            left = crash(checker, prepare(checker), self.path, folder)
            if isinstance(left, Checked):
                raise UsageError(f"{self.name} left nothing to look at: {left.explanation}")
            about = f"the folder that the kill left, before recovery; the journal is {folder / 'journal'}"
            yield CrashedFolder(folder / ROOT_NAME, about)


class Kill(NeedsNoOptions):
    """The kind of experiment; see `crashmatrix.scenarios.experiment.ExperimentKind`."""

    name = "kill"
    dies: Literal["process"] = "process"
    default = True
    budget = BUDGET
    counts = "hits"
    modules = ()
    labels = Labels("crash point", "hit", repeatable=True)

    def lacking(self, options: ExperimentOptions) -> str:
        """Nothing: every machine can kill a process."""
        del options
        return ""

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> KillExperiment:
        """Return the experiment, not yet begun."""
        return KillExperiment(checker, options, listener or Listener())

    def searches(self, checker: Checker, options: ExperimentOptions) -> Iterator[KillExperiment]:
        """One: it tries every hit."""
        yield self.experiment(checker, options)

    def points(self, checker: Checker) -> Sequence[CrashPoint]:
        """Return the target's failpoints, by name."""
        profile = prepare(checker).profile
        return [
            CrashPoint(name, sum(hit == name for hit, _ in profile.hits), description)
            for name, (description, _) in sorted(profile.declared.items())
        ]

    def scenario(self, name: str, stored: StoredRun) -> KillScenario:
        """Return the scenario of an id; the report is not needed. Raises UsageError."""
        del stored
        return KillScenario(name, parse_id(name))


KILL = Kill()
