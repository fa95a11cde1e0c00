"""The `kill` experiment: the process dies by SIGKILL at the k-th hit of a failpoint, also during recovery.

    1. prepare the folder; run the workload once undisturbed and count the hits of every failpoint
    2. run it again and snapshot the folder at each hit chosen (see `snapshot`): each is a crash
    3. judge every distinct crashed folder (`crash_check`), taking snapshots its recovery: each of those hits is a crash
       during recovery, judged in turn, breadth first, to `DEPTH_MAX` crashes deep
    4. really kill, by SIGKILL, a seeded sample of all these scenarios, and compare with the snapshots: the same promises,
       the same folder, the same verdict

A snapshot stands for a kill only because 4 keeps finding them equal; where it does not, the scenario is ``unknown``.
Two scenarios that left the same folder after the same promises have one judgement between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Labels, ScenarioResult, Verdict
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState, Snapshot, snapshot_job
from crashmatrix.scenarios.judging.undisturbed import refuse_if_broken, unfired
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.plan import (
    DEPTH_MAX,
    END,
    SAMPLE_MIN,
    SAMPLE_SHARE,
    CrashPath,
    crash_fault,
    scenario_id,
    thin,
    thin_states,
)
from crashmatrix.scenarios.kill.profile import Prepared, prepare, shrunk
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.result import JobResult, was_killed
from crashmatrix.scenarios.processes.system_calls import DESCRIPTIONS
from crashmatrix.scenarios.shards import WHOLE, Shard, plan_digest
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["KillExperiment"]

T = TypeVar("T")


@dataclass(kw_only=True)
class KillExperiment:
    """One kill experiment on one target. ``on_result`` hears of each result as it comes, ``on_plan`` of each new total."""

    labels: ClassVar[Labels] = Labels("failpoint", "hit")
    checker: Checker
    workers: int
    seed: int
    budget: int
    shard: Shard = WHOLE
    until_broken: bool = False
    """Stop at the first broken promise, judging in a drawn order: quick proof that a bug is found."""
    replay: Callable[[str], str] = lambda name: f"crashmatrix replay {name}"
    on_result: Callable[[ScenarioResult], None] = lambda _: None
    on_plan: Callable[[str, int], None] = lambda _, __: None
    results: dict[CrashPath, ScenarioResult] = field(default_factory=dict)
    """By path; `ordered` has them in the plan's order."""
    details: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, tuple[str, str]] = field(default_factory=dict)
    paths: list[CrashPath] = field(default_factory=list)
    states: dict[CrashPath, CrashState] = field(default_factory=dict)
    checked: dict[str, Checked] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Run it all; results so far stand even when this is interrupted. Raises UsageError for a target that cannot run."""
        prepared = self.prepare()
        if self._says_nothing(prepared):
            return
        chosen, note = thin(prepared.profile.hits, self.budget, self.seed, self.checker.system.boundaries)
        self._notes += filter(None, (prepared.note, note))
        self.details.update(depth_max=DEPTH_MAX, notes=self._notes, plan=plan_digest(chosen))
        comparable = self._snapshot_workload(prepared, chosen)
        self._explore()
        self._kill_sample(prepared, comparable)
        self._account(prepared)

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        return [self.results[path] for path in self.paths if path in self.results]

    def prepare(self) -> Prepared:
        """Step 1: see `kill_prepare`."""
        return prepare(self.checker)

    def _says_nothing(self, prepared: Prepared) -> bool:
        """Report an undisturbed run after which no crash can be judged; a planted bug may show in it. Raises UsageError."""
        end = CrashState(prepared.final, prepared.promises)
        if self.checker.target.mutant or (violation := self.checker.undisturbed(end)) is None:
            return False
        refuse_if_broken(self.checker.target.name, violation, self.checker.system.contract)
        self.details.update(notes=self._notes, plan=plan_digest([END]))
        if self.shard.block([END]):
            self.paths.append((END,))
            self._report((END,), Checked(violation.verdict, violation.explanation), end)
        return True

    def _side_by_side(
        self, function: Callable[[CrashPath], T], paths: Iterable[CrashPath]
    ) -> Iterator[tuple[CrashPath, T]]:
        return side_by_side(self.checker.jobs, self.workers, function, paths)

    def _snapshot_workload(self, prepared: Prepared, chosen: list[Hit]) -> bool:
        """Snapshot the workload at each chosen hit; returns whether its runs can be compared byte by byte."""
        folder, snapshots = self.checker.folder(), list[Snapshot]()
        root, journal = folder / "root", folder / "journal"
        self.checker.store.restore(prepared.tree, root)
        self.on_plan("taking snapshots", len(chosen))
        job = self.checker.jobs.start(
            work.workload, self.checker.target, root, journal, set(chosen), None,
            seconds_max=10 * self.checker.system.seconds_max,
        )  # fmt: skip
        snapshot_job(job, self.checker.store, root, snapshots, journal)
        self.checker.must("the workload whose snapshots were taken", job.wait())
        written = read_file(journal)
        snapshots.append(Snapshot(END, self.checker.store.capture(root), len(written)))
        sizes = [snapshot.journal_bytes for snapshot in snapshots]
        if sizes != sorted(sizes):
            raise shrunk(self.checker)
        for snapshot in snapshots:
            promises = Promises.parse(written[: snapshot.journal_bytes], prepared.items)
            self.states[(snapshot.hit,)] = CrashState(snapshot.tree, promises)
        self.paths += [(hit,) for hit in self.shard.block([*chosen, END])]  # Neighbours often left the same folder.
        self._miss([hit for (hit,) in self.paths if (hit,) not in self.states])
        different = "left different folders" if self.checker.difference(prepared.final, snapshots[-1].tree) else ""
        if [snapshot.hit for snapshot in snapshots] != [*chosen, END]:
            different = "met their crash points in another order"
        if different:
            self._notes.append(f"two undisturbed runs {different}, so killed runs are compared by verdict only")
        self._finished(folder)
        return not different

    def _miss(self, hits: list[Hit]) -> None:
        """A failpoint that did not fire again is ``unknown``; a system call that was not made again is no place to crash."""
        calls = [hit for hit in hits if hit[0] in DESCRIPTIONS]
        for hit in hits:
            if hit not in calls:
                text = "the failpoint fired in one run of the workload, not in the next"
                self._report((hit,), Checked(Verdict.UNKNOWN, text))
        if calls:
            self._notes.append(f"{len(calls)} system calls of one run of the workload did not come again in the next")

    # Step 3

    def _explore(self) -> None:
        """Judge every state, then the states its recovery passes through, one depth after the other."""
        level = {path: self.states[path] for path in self.paths if path in self.states}
        if self.until_broken:
            self._check_all(level, snapshot=False)  # Quicker, and enough for most bugs.
            if self._broken():
                return
            self.checked.clear()
        for depth in range(DEPTH_MAX + 1):
            self.on_plan(f"recovering, depth {depth}", len(self.results) + len(level))
            found = self._check_all(level, snapshot=depth < DEPTH_MAX)
            if self.until_broken and self._broken():
                return
            level = self._thin_states(depth + 1, self._next_level(found))
            self.states.update(level)
            self.paths += level

    def _thin_states(self, depth: int, level: dict[CrashPath, CrashState]) -> dict[CrashPath, CrashState]:
        """Leave out scenarios whose state is one too many: kept are the first of each failpoint, and a drawn rest."""
        new = {path: state.digest for path, state in level.items() if state.digest not in self.checked}
        keep, note = thin_states(depth, new, self.shard.share(self.budget), self.seed)
        self._notes += [note] if note else []
        known = self.checked.keys() | keep
        return {path: state for path, state in level.items() if state.digest in known}

    def _check_all(
        self, level: dict[CrashPath, CrashState], *, snapshot: bool
    ) -> list[tuple[CrashPath, CrashState, Checked]]:
        """Judge a level; returns each state judged for the first time, with the first path that led to it, in order."""
        first: dict[str, CrashPath] = {}
        for path, state in level.items():
            if state.digest not in self.checked:
                first.setdefault(state.digest, path)
        self._report_known(level)
        jobs = {path: level[path] for path in first.values()}
        if self.until_broken:
            paths = list(jobs)
            random.Random(f"{self.seed} order").shuffle(paths)
            jobs = {path: jobs[path] for path in paths}
        for path, checked in self._side_by_side(lambda path: self.checker.check(jobs[path], snapshot=snapshot), jobs):
            self.checked[level[path].digest] = checked
            self._report_known({p: s for p, s in level.items() if s.digest == level[path].digest})
            if self.until_broken and checked.verdict.broken:
                break
        return [(path, level[path], self.checked[digest]) for digest, path in first.items() if digest in self.checked]

    def _report_known(self, level: dict[CrashPath, CrashState]) -> None:
        for path, state in level.items():
            if path not in self.results and state.digest in self.checked:
                self._report(path, self.checked[state.digest], state)

    def _next_level(self, found: Iterable[tuple[CrashPath, CrashState, Checked]]) -> dict[CrashPath, CrashState]:
        return {
            (*path, snapshot.hit): CrashState(snapshot.tree, state.promises)
            for path, state, checked in found
            for snapshot in checked.recovery
        }

    # Step 4

    def _kill_sample(self, prepared: Prepared, comparable: bool) -> None:
        size = max(SAMPLE_MIN, round(SAMPLE_SHARE * len(self.results)))
        paths = [path for path in sorted(self.results) if path in self.states and path != (END,)]
        sample = random.Random(f"{self.seed} sample").sample(paths, min(size, len(paths)))
        if self.until_broken:
            sample = self._broken()[:1] or sample
        self.on_plan("killing for real", len(sample))
        agreed = 0
        for path, checked in self._side_by_side(lambda path: self.kill(prepared, path, comparable), sample):
            agreed += checked is None
            result = replace(self.results[path], method="sigkill")
            if checked is not None:
                result = replace(result, verdict=checked.verdict, explanation=checked.explanation)
            self.results[path] = result
        self.details.update(killed_for_real=len(sample), agreed_with_snapshot=agreed)

    def _broken(self) -> list[CrashPath]:
        return [path for path, result in self.results.items() if result.verdict.broken]

    def kill(self, prepared: Prepared, path: CrashPath, comparable: bool) -> Checked | None:
        """Kill for real along ``path``; None if that left what the snapshot shows and has its verdict."""
        folder = self.checker.folder()
        try:
            state = self.crash(prepared, path, folder)
            if isinstance(state, Checked):
                return state
            shown = self.states[path]
            if comparable and state.promises != shown.promises:
                text = "the killed process had promised something else than the one whose snapshot was taken"
                return Checked(Verdict.UNKNOWN, text)
            if comparable and (place := self.checker.difference(state.tree, shown.tree)):
                return Checked(
                    Verdict.UNKNOWN, f"the killed process left another folder than the snapshot shows: {place}"
                )
            checked, expected = self.checker.check(state), self.checked[shown.digest]
            if checked.verdict is expected.verdict:
                return None
            return Checked(Verdict.UNKNOWN, f"{checked.verdict} when killed, {expected.verdict} as in the snapshot")
        finally:
            self._finished(folder)

    def crash(self, prepared: Prepared, path: CrashPath, folder: Path) -> CrashState | Checked:
        """Crash for real along ``path`` in ``folder``; returns what is left, or why it came to nothing."""
        root, journal = folder / "root", folder / "journal"
        self.checker.store.restore(prepared.tree, root)
        for depth, hit in enumerate(path):
            kill = None if hit == END else hit
            if depth == 0:
                result: JobResult[object] = self.checker.run(work.workload, root, journal, (), kill)
            elif unusable := self.checker.store.capture(root).unusable:
                return Checked(*unusable)
            else:
                result = self.checker.run(work.recover, root, False, kill)
            if kill is not None and not was_killed(result):
                return Checked(Verdict.UNKNOWN, f"was to be killed at {hit[0]}@{hit[1]}, but {result}")
        written = read_file(journal)
        return CrashState(self.checker.store.capture(root), Promises.parse(written, prepared.items))

    def _report(
        self, path: CrashPath, checked: Checked, state: CrashState | None = None, method: str = "snapshot"
    ) -> None:
        name = scenario_id(path)
        point, number = path[-1]
        result = ScenarioResult(
            id=name, experiment="kill", point=point, hit=number, depth=len(path) - 1, method=method,
            fault=crash_fault(path[-1]), verdict=checked.verdict, explanation=checked.explanation,
            state=state.digest if state else "", replay=self.replay(name),
        )  # fmt: skip
        self.results[path] = result
        self.on_result(result)

    def _account(self, prepared: Prepared) -> None:
        self.declared = declared = dict(prepared.profile.declared)
        for checked in self.checked.values():
            declared.update(checked.declared)
        hit = {name for path in self.results for name, _ in path} | {name for name, _ in prepared.profile.hits}
        changed = {state.tree.digest for state in self.states.values()} - {self.states[(END,)].tree.digest}
        if not changed:
            self._distrust("no crash left anything else than the undisturbed run: nothing was tested")
        never = sorted(name for name in declared if name not in hit)
        self._miss_listed(prepared, hit)
        self.details.update(
            failpoints_declared=len(declared),
            failpoints_never_hit=never,
            distinct_states=len(self.checked),
            during_recovery=sum(len(path) > 1 for path in self.results),
        )
        if (END,) in self.results and self.results[(END,)].verdict.broken:  # Another shard may have it.
            self._notes.append(
                "the end of an undisturbed run is broken, too, so no crash is to blame: does the system write outside its "
                "folder, or not at all?"
            )
        if never:
            self._notes.append(f"failpoints never hit: {', '.join(never)}")
        self._notes.append(
            f"{len(self.checked)} distinct states judged, crashes in recovery up to {DEPTH_MAX} deep; "
            f"{self.details['killed_for_real']} scenarios also killed for real, "
            f"{self.details['agreed_with_snapshot']} of them as in the snapshot"
        )

    def _miss_listed(self, prepared: Prepared, hit: Collection[str]) -> None:
        """A failpoint that the target lists, and that never fired, is ``unknown``."""
        for name in prepared.profile.listed:
            path = ((name, 1),)
            if name not in hit and path not in self.results:
                self.paths.append(path)
                self._report(path, Checked(Verdict.UNKNOWN, unfired(name, prepared.unseen)), method="unfired")

    def _distrust(self, reason: str) -> None:
        for path, result in self.results.items():
            if result.verdict is Verdict.SAFE:
                self.results[path] = replace(result, verdict=Verdict.UNKNOWN, explanation=reason)

    def _finished(self, folder: Path) -> None:
        remove_tree(folder)
