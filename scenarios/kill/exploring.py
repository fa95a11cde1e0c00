"""Steps 2 and 3 of the kill experiment: snapshot the workload at each chosen hit, and judge every state a kill would leave.

A snapshot of the folder stands for a kill; `real_kills` checks a sample of them. Two scenarios that left the same folder
after the same promises are judged once. Recovery is snapshotted, too, from all states or from some (`plan.followed`): each of its
hits is a crash during recovery, judged in turn, breadth first, to `DEPTH_MAX` crashes deep.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.experiment import ExperimentOptions, Listener
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot, snapshot_job
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.tasks.judge_state import JudgeState
from crashmatrix.scenarios.judging.tasks.memory import Memory
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.plan import (
    BUDGET,
    DEPTH_MAX,
    END,
    RESUMED,
    CrashPath,
    crash_fault,
    followed,
    room,
    scenario_id,
    thin_states,
)
from crashmatrix.scenarios.kill.profile import Prepared, shrunk
from crashmatrix.scenarios.kill.remaining import TimeLeft
from crashmatrix.scenarios.processes.calls.system_calls import DESCRIPTIONS
from crashmatrix.scenarios.processes.parallel import side_by_side
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.shards import plan_digest
from crashmatrix.scenarios.target.journal import Promises, several_writers

__all__ = ["KillExploration", "snapshots_of"]

T = TypeVar("T")

_Judged = list[tuple[CrashPath, CrashState, Checked]]

_SEARCHED = 120
"""How many scenarios are judged at a time in search of a bug that is known to be there."""


@dataclass(frozen=True)
class _Taken:
    """The snapshots of a run of the workload, and its journal."""

    snapshots: tuple[Snapshot, ...]
    journal: bytes

    def trees(self) -> list[Tree]:
        return [snapshot.tree for snapshot in self.snapshots]


def snapshots_of(
    checker: Checker, prepared: Prepared, chosen: Collection[Hit], memory: Memory | None = None
) -> list[tuple[Hit, CrashState]]:
    """Run the workload once, undisturbed; returns the state at each chosen hit that was met, and at the end, in order.

    Args:
        memory: has the run, if the one that is resumed has made it.

    Raises:
        UsageError: it does not work this time, or spoils its journal.
    """

    def take() -> _Taken:
        return _take(checker, prepared, chosen)

    taken = memory.once(f"snapshots at {plan_digest(chosen)}", _Taken, take, _Taken.trees) if memory else take()
    whole = Promises.parse(taken.journal, prepared.items)
    lines = [taken.journal.count(b"\n", 0, snapshot.journal_bytes) for snapshot in taken.snapshots]
    promises = {count: replace(whole, events=whole.events[:count]) for count in lines}
    return [
        (snapshot.hit, CrashState(snapshot.tree, promises[count]))
        for snapshot, count in zip(taken.snapshots, lines, strict=True)
    ]


def _take(checker: Checker, prepared: Prepared, chosen: Collection[Hit]) -> _Taken:
    folder, snapshots = checker.folder(), list[Snapshot]()
    root, journal = folder / ROOT_NAME, folder / "journal"
    checker.store.restore(prepared.tree, root)
    job = checker.jobs.start(
        work.workload, checker.target, root, journal, set(chosen), None,
        seconds_max=10 * checker.system.seconds_max, view=checker.view(root),
    )  # fmt: skip
    snapshot_job(job, checker.store, root, snapshots, journal)
    checker.must("the workload whose snapshots were taken", job.wait())
    written = read_file(journal)
    snapshots.append(Snapshot(END, checker.store.capture(root), len(written)))
    sizes = [snapshot.journal_bytes for snapshot in snapshots]
    if sizes != sorted(sizes):
        raise shrunk(checker)
    remove_tree(folder)
    return _Taken(tuple(snapshots), written)


@dataclass
class KillExploration:
    """The states that kills of one target leave, and their verdicts."""

    checker: Checker
    options: ExperimentOptions = field(default_factory=ExperimentOptions)
    listener: Listener = field(default_factory=Listener)
    depth_max: int = DEPTH_MAX
    results: dict[CrashPath, ScenarioResult] = field(default_factory=dict)
    """By path; `ordered` has them in the plan's order."""
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    declared: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Description and location of each failpoint, by name."""
    places: dict[Hit, tuple[str, str]] = field(default_factory=dict)
    """The action of system calls, and their line of source, by hit: for the examples of findings."""
    paths: list[CrashPath] = field(default_factory=list)
    """The plan's order."""
    states: dict[CrashPath, CrashState] = field(default_factory=dict)
    snapshots: dict[CrashPath, tuple[Snapshot, ...]] = field(default_factory=dict)
    """Those of a second life, by the path to its beginning."""
    checked: dict[str, Checked] = field(default_factory=dict)
    """By the state's key."""
    time_left: TimeLeft = field(default_factory=TimeLeft)

    @property
    def budget(self) -> int:
        """How many hits of the workload to crash at, at most."""
        return self.options.budget or BUDGET

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        return [self.results[path] for path in self.paths if path in self.results]

    def broken(self) -> list[CrashPath]:
        """Return the paths that broke a promise."""
        return [path for path, result in self.results.items() if result.verdict.broken]

    def side_by_side(
        self, function: Callable[[CrashPath], T], paths: Iterable[CrashPath]
    ) -> Iterator[tuple[CrashPath, T]]:
        """Yield each path with what ``function`` returns for it, several at a time, in the order in which they finish."""
        return side_by_side(self.checker.jobs, self.options.workers, function, paths)

    def snapshot_workload(self, prepared: Prepared, chosen: list[Hit]) -> bool:
        """Snapshot the workload at each chosen hit; returns whether its runs meet them in one order, and can be compared."""
        self.listener.planned("taking snapshots", len(chosen))
        found = snapshots_of(self.checker, prepared, chosen, self.checker.memory)
        for hit, state in found:
            self.states[(hit,)] = state
        self.paths += [
            (hit,) for hit in self.options.shard.block([*chosen, END])
        ]  # Neighbours often left the same folder.
        self._miss([hit for (hit,) in self.paths if (hit,) not in self.states], {name for (name, _), _ in found})
        if [hit for hit, _ in found] != [*chosen, END]:
            self.notes.append(
                "two undisturbed runs met their crash points in another order, so killed runs are compared by verdict only"
            )
            return False
        if writers := several_writers(found[-1][1].promises):
            self.notes.append(
                f"{writers} writers may take turns in another order in each run, so killed runs are compared by verdict only"
            )
            return False
        if self.checker.difference(prepared.final, found[-1][1].tree):
            self.notes.append(
                "two undisturbed runs left different folders; what differs there is left out when killed runs are compared"
            )
        return True

    def _miss(self, hits: list[Hit], met: Collection[str]) -> None:
        """Account for hits that did not come again in the next run.

        A failpoint of which none came is ``unknown``. A run may have more of others, and of system calls, than the next, since
        threads take another order. These are left out.
        """
        left_out = Counter({"system calls": 0, "hits": 0})
        for hit in hits:
            if hit[0] in DESCRIPTIONS:
                left_out["system calls"] += 1
            elif hit[0] in met:
                left_out["hits"] += 1
            else:
                text = "the failpoint fired in one run of the workload, not in the next"
                self.report((hit,), Checked(Verdict.UNKNOWN, text))
        for what, count in left_out.items():
            if count:
                self.notes.append(f"{count} {what} of one run of the workload did not come again in the next")

    def search(self) -> Iterator[None]:
        """Judge every state that the workload leaves, but none of its recovery: quicker, and enough for most bugs.

        Yields now and then, so that what was recovered until then can be gone on from.
        """
        paths = [path for path in self.paths if path in self.states]
        random.Random(f"{self.options.seed} search").shuffle(paths)
        for start in range(0, len(paths), _SEARCHED):
            self.judge_level({path: self.states[path] for path in paths[start : start + _SEARCHED]})
            yield

    def explore(self) -> None:
        """Judge every state, then the states its recovery passes through, one depth after the other."""
        level = {path: self.states[path] for path in self.paths if path in self.states and RESUMED not in path}
        if self.options.until_broken:
            self.checked.clear()  # Their recovery is to be seen.
        for depth in range(self.depth_max + 1):
            self.listener.planned(f"recovering, depth {depth}", len(self.results) + len(level))
            self.time_left.levels, self.time_left.room = (
                self.depth_max - depth,
                room(self.options.shard.share(self.budget)),
            )
            found = self._judge_and_follow(depth, level) if depth < self.depth_max else self.judge_level(level)
            if self.options.until_broken and self.broken():
                return
            level = self._thin_states(depth + 1, self.next_level(found))
            self.states.update(level)
            self.paths += level

    def _thin_states(self, depth: int, level: dict[CrashPath, CrashState]) -> dict[CrashPath, CrashState]:
        """Leave out scenarios whose state is one too many: kept are the first of each failpoint, and a drawn rest."""
        new = {path: state.digest for path, state in level.items() if state.key not in self.checked}
        keep, note = thin_states(depth, new, self.options.shard.share(self.budget), self.options.seed)
        self.notes += [note] if note else []
        return {path: state for path, state in level.items() if state.key in self.checked or state.digest in keep}

    def _judge_and_follow(self, depth: int, level: dict[CrashPath, CrashState]) -> _Judged:
        """Judge a level, and follow recovery from some of its states; returns these.

        A snapshot at each hit of a recovery takes longer than the judgement, and most would not be judged: the next level takes
        few of thousands. Failpoints that only others passed are looked for in a second judgement. If a system is crashed at its
        system calls, each recovery is followed: nothing else says which calls it makes.
        """
        if self.options.until_broken or self.checker.target.watch_calls:
            return self.judge_level(level, snapshot=True)
        new = {path: state.key for path, state in level.items() if state.key not in self.checked}
        chosen, note = followed(depth, new, self.options.shard.share(self.budget), self.options.seed)
        self.notes += [note] if note else []
        drawn = {path: state for path, state in level.items() if path in chosen}
        found = self.judge_level(drawn, snapshot=True, to_come=len(set(new.values())) - len(drawn))
        others = self.judge_level(level)
        seen = {snapshot.hit[0] for _, _, checked in found for snapshot in checked.recovery}
        further = dict[CrashPath, CrashState]()
        for path, state, checked in others:
            if not seen.issuperset(checked.passed):
                further[path] = state
                seen.update(checked.passed)
                del self.checked[state.key]  # It was judged without snapshots of its recovery.
        again = self.judge_level(further, snapshot=True, to_come=None)
        for _, state, checked in again:
            # It was safe the first time: recovery does not do the same each time.
            if checked.verdict is not Verdict.SAFE:
                self._correct(state, checked)
        return found + again

    def _correct(self, judged: CrashState, checked: Checked) -> None:
        """Give every scenario that left a state another verdict."""
        for path, state in self.states.items():
            if state.key == judged.key and path in self.results:
                result = self.results[path]
                self.results[path] = replace(result, verdict=checked.verdict, explanation=checked.explanation)

    def judge_level(
        self, level: dict[CrashPath, CrashState], *, snapshot: bool = False, to_come: int | None = 0
    ) -> _Judged:
        """Judge a level; returns each state that `checked` has not yet, with the first path that led to it, in order.

        Args:
            snapshot: whether recovery is followed.
            to_come: how many states of the level are judged after these, without being followed; None if these are few that
                say nothing of how many states the next level will have. For the estimate of the time that is left.
        """
        alike: dict[str, dict[CrashPath, CrashState]] = {}
        for path, state in level.items():
            alike.setdefault(state.key, {})[path] = state
        first = {key: next(iter(states)) for key, states in alike.items() if key not in self.checked}
        self._report_known(level)
        jobs = {path: level[path] for path in first.values()}
        if self.options.until_broken:
            paths = list(jobs)
            random.Random(f"{self.options.seed} order").shuffle(paths)
            jobs = {path: jobs[path] for path in paths}
        rated = snapshot and to_come is not None
        self.time_left.level(len(jobs), to_come or 0, rated=rated)
        for path, checked in self.checker.pool.each(JudgeState("kill", snapshot), jobs, self.options.workers):
            self.checked[level[path].key] = checked
            self.time_left.judged(level[path], checked, self.checker.memory.made, rated=rated)
            self.listener.time_left(self.time_left.seconds(self.options.workers), self.time_left.each)
            self._report_known(alike[level[path].key])
            if self.options.until_broken and checked.verdict.broken:
                break
        return [(path, level[path], self.checked[key]) for key, path in first.items() if key in self.checked]

    def _report_known(self, level: dict[CrashPath, CrashState]) -> None:
        for path, state in level.items():
            if path not in self.results and state.key in self.checked:
                self.report(path, self.checked[state.key], state)

    def next_level(self, found: Iterable[tuple[CrashPath, CrashState, Checked]]) -> dict[CrashPath, CrashState]:
        """Return the states that recoveries passed through: each is a crash in recovery."""
        return {
            (*path, snapshot.hit): CrashState(snapshot.tree, state.promises)
            for path, state, checked in found
            for snapshot in checked.recovery
        }

    def report(
        self, path: CrashPath, checked: Checked, state: CrashState | None = None, method: str = "snapshot"
    ) -> None:
        """Store the verdict of one scenario, and tell the listener."""
        name = scenario_id(path)
        point, number = path[-1]
        result = ScenarioResult(
            id=name, experiment="kill", point=point, hit=number, depth=len(path) - 1, method=method,
            fault=crash_fault(path[-1]), verdict=checked.verdict, explanation=checked.explanation,
            state=state.digest if state else "", replay=self.options.replay_command(name),
        )  # fmt: skip
        self.results[path] = result
        self.listener.result(result)
