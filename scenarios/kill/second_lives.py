"""Life after the crash, for a system that says how to go on: it is resumed from what recoveries led to, and crashed again.

1. of the folders that recoveries from safe states led to, all are taken, or a share: those first that have other names than
   the ones before, other empty files, other changes by recovery, or that come from a crash at another place, or after another
   number of items: the only file may be of one size, with two places in it that take turns
2. the system is resumed there, in a process of its own: it stores new items. Some of these lives are watched: a snapshot is
   taken at each hit
3. the end of each second life is judged, as after a clean restart, and so are the crashes in those watched, or a share. Among
   crashes that left one folder, the last one comes first, since the most is owed there; each step of a life's first items, too

A path reads ``kill:wal.append.before_sync@3+workload.resumed@1+workload.end@1``: killed there, recovered, resumed, and in
order to the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging import second_life, worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.second_life import Recovered
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot, snapshot_job
from crashmatrix.scenarios.judging.snapshots.tree import Tree, folded
from crashmatrix.scenarios.judging.tasks.pool import Task
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import END, RESUMED, CrashPath
from crashmatrix.scenarios.processes.result import JobResult, Returned, was_killed
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.contract import Violation

__all__ = ["KILLS_MIN", "LIVES_MIN", "Life", "SecondLives", "crash_again"]

LIVES_MIN, LIVES_SHARE = 16, 0.03
"""How many recovered folders get a second life at most: this many at least, or this share of the distinct states judged."""

WATCHED_MIN, WATCHED_SHARE = 2, 0.25
"""How many second lives are watched: this many at least, or this share of the crashes in them that are judged at most. At each
hit of these lives a snapshot is taken."""

SEARCHED = 16
"""How many second lives are judged at a time in search of a bug that is known to be there."""

KILLS_MIN, KILLS_SHARE, KILLS_OF_BUDGET = 12, 0.02, 0.015
"""How many distinct crashes in second lives are judged at most: this many at least, or this share of the distinct states; or this
share of the budget, but not more than there are distinct states."""

_FIRST_EVENTS = 4
"""Up to this line of a second life's journal, crashes differ by the line: its first two items."""

_TURNS = 4
"""Crashes differ by the number of items before them, modulo this: two keys may each have two places that take turns."""


@dataclass(frozen=True)
class Life:
    """One second life: its end and the snapshots taken on the way, as states; or why there is no end to judge."""

    end: CrashState
    snapshots: tuple[Snapshot, ...] = ()
    states: dict[Hit, CrashState] = field(default_factory=dict)
    failed: Violation | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether it has a promise of its own."""
        return any(event.kind == "ack" for event in self.end.promises.events)

    def trees(self) -> list[Tree]:
        """The snapshots in it."""
        return [self.end.tree, *(snapshot.tree for snapshot in self.snapshots)]


@dataclass(frozen=True)
class _Resume(Task[Checker, tuple[Recovered, bool], Life]):
    """Resumes the system in a copy of a recovered folder, and watches that life if it is to be watched."""

    result = Life
    experiment = "kill"

    def key(self, item: tuple[Recovered, bool]) -> str:
        recovered, watched = item
        return f"resumed{', watched' * watched}: {recovered.tree.order} {recovered.key}"

    def needs(self, item: tuple[Recovered, bool]) -> Iterable[Tree]:
        return [item[0].tree]

    def leaves(self, result: Life) -> Iterable[Tree]:
        return result.trees()

    def lost(self, item: tuple[Recovered, bool], reason: str) -> Life:
        end = CrashState(item[0].tree, item[0].promises(b""), resumed=True)
        return Life(end, failed=Violation(Verdict.UNKNOWN, reason))

    def carry_out(self, checker: Checker, item: tuple[Recovered, bool]) -> Life:
        recovered, watched = item
        folder = checker.folder()
        root, journal, snapshots = folder / ROOT_NAME, folder / "journal", list[Snapshot]()

        def resume(limit: float) -> JobResult[None]:
            job = checker.jobs.start(
                work.resume, checker.target, root, journal, None if watched else (), None, recovered.items,
                seconds_max=limit, view=checker.view(root),
            )  # fmt: skip
            snapshots.clear()
            snapshot_job(job, checker.store, root, snapshots, journal)
            return job.wait()

        try:
            checker.store.restore(recovered.tree, root)
            resuming = checker.patience.resuming
            result = resuming.tried(resume, lambda: _anew(checker, recovered, root, journal))
            written = read_file(journal)
            end = CrashState(checker.store.capture(root), recovered.promises(written), resumed=True)
            returned = isinstance(result, Returned)
            failed = None if returned else second_life.failed_resumption(result, root, resuming.seconds_max)
            states = {
                snapshot.hit: CrashState(
                    snapshot.tree, recovered.promises(written[: snapshot.journal_bytes]), resumed=True
                )
                for snapshot in snapshots
            }
        except UsageError as error:  # The journal makes no sense.
            end = CrashState(recovered.tree, recovered.promises(b""), resumed=True)
            return Life(end, failed=Violation(Verdict.UNKNOWN, f"when it was resumed: {error}"))
        finally:
            remove_tree(folder)
        again = second_life.stored_again(checker.contract, end.promises)
        if again:
            return Life(end, failed=Violation(Verdict.UNKNOWN, again))
        return Life(end, tuple(snapshots), states, failed)


@dataclass
class SecondLives:
    """Resumes the system from what an exploration recovered. `run` may be called again: it does not repeat itself."""

    exploration: KillExploration
    lives: dict[CrashPath, Life] = field(default_factory=dict)
    """By the path to the crash before."""
    _found: dict[tuple[str, str], CrashPath] = field(default_factory=dict)
    _watched: set[CrashPath] = field(default_factory=set)
    _at_most: int | None = None
    _seen: set[tuple[str, ...]] = field(default_factory=set)
    """The kinds of the lives so far."""

    def run(self, *, everywhere: bool = False, at_most: int | None = None) -> None:
        """Resume, judge, and say in the exploration's notes and details what came of it.

        Args:
            everywhere: go on from everything that recoveries led to, however much it is.
            at_most: how many second lives there are at most, and distinct crashes in them; None for a share.
        """
        explored = self.exploration
        if not explored.checker.system.can_resume():
            return
        recovered = self._recovered()
        self._at_most = at_most
        room = len(recovered) if everywhere else self._room(LIVES_MIN, LIVES_SHARE)
        kinds = {path: self._kind(path, each) for path, each in recovered.items()}
        seed = f"{explored.options.seed} second lives {len(self.lives)}"
        chosen = second_life.varied(kinds, room, seed, self._seen)
        self._seen.update(kinds[path] for path in chosen)
        explored.time_left.lives = 0
        explored.listener.planned("resuming", len(explored.results) + len(chosen))
        # The first ones follow early crashes. After one with few promises, there is little that can go wrong.
        late = max(chosen, key=lambda path: len(explored.states[path].promises.events), default=None)
        late_first = sorted(chosen, key=lambda path: path != late)
        watched = max(WATCHED_MIN, round(WATCHED_SHARE * self._room_for_kills()))
        self._watched = {*(chosen if everywhere else late_first[:watched])}
        size = SEARCHED if explored.options.until_broken else max(1, len(chosen))
        for part in _parts(chosen, size):
            self._go_on({path: recovered[path] for path in part})
            if explored.options.until_broken and explored.broken():
                return

    def _go_on(self, recovered: dict[CrashPath, Recovered]) -> None:
        explored = self.exploration
        begun = {path: (each, path in self._watched) for path, each in recovered.items()}
        for path, life in explored.checker.pool.each(_Resume(), begun, explored.options.workers):
            self.lives[path] = life
            self._note(path, recovered[path], life)
        self._judge([*recovered])

    def _recovered(self) -> dict[CrashPath, Recovered]:
        """Return what recoveries led to that no second life has begun with: each folder and its items once."""
        explored, found = self.exploration, dict[CrashPath, Recovered]()
        for path in [*explored.paths]:
            state = explored.states.get(path)
            checked = explored.checked.get(state.key) if state and RESUMED not in path else None
            if checked and checked.recovered and checked.recovered.key not in self._found:
                self._found[checked.recovered.key] = path
                found[path] = checked.recovered
        return found

    def _kind(self, path: CrashPath, recovered: Recovered) -> tuple[str, ...]:
        """The kind of a second life before it begins: its parts, in the order in which they count."""
        changed = folded(self.exploration.states[path].tree.difference(recovered.tree))
        _, line = self.exploration.places.get(path[-1], ("", ""))
        return recovered.tree.shape, changed, f"{path[-1][0]} {line}", self._turn(path)

    def _turn(self, path: CrashPath) -> str:
        return str(len(self.exploration.states[path].promises.events) // 2 % _TURNS)

    def _room(self, least: int, share: float) -> int:
        if self._at_most is not None:
            return self._at_most
        return max(least, round(share * self._distinct()))

    def _room_for_kills(self) -> int:
        if self._at_most is not None:
            return self._at_most
        of_budget = round(KILLS_OF_BUDGET * self.exploration.options.shard.share(self.exploration.budget))
        return max(self._room(KILLS_MIN, KILLS_SHARE), min(of_budget, self._distinct()))

    def _distinct(self) -> int:
        """How many folders were judged, with their promises: as many in each run, whatever the times of files."""
        return len(
            {state.digest for state in self.exploration.states.values() if state.key in self.exploration.checked}
        )

    def _note(self, path: CrashPath, recovered: Recovered, life: Life) -> None:
        """Let the exploration know the states of a second life; report one that has no end to judge."""
        explored = self.exploration
        before = (*path, RESUMED)
        explored.states[before] = CrashState(recovered.tree, recovered.promises(b""), resumed=True)
        explored.snapshots[before] = life.snapshots
        explored.states.update({(*before, hit): state for hit, state in life.states.items()})
        if life.failed is None:
            explored.states[(*before, END)] = life.end
        else:
            explored.paths.append((*before, END))
            explored.report((*before, END), Checked(life.failed.verdict, life.failed.explanation))

    def _judge(self, paths: Collection[CrashPath]) -> None:
        """Judge the ends of second lives, and crashes in them."""
        explored = self.exploration
        level = {end: explored.states[end] for path in paths if (end := (*path, RESUMED, END)) in explored.states}
        kills = {(*path, RESUMED, hit): state for path in paths for hit, state in self.lives[path].states.items()}
        last = [path for before in paths for path in self._last_of_each_folder(before)]
        # By content, since two files may have one time or not in another run.
        first = {kills[path].digest: path for path in reversed([*last, *kills])}
        every = explored.options.until_broken and self._at_most is None
        room, seed = len(first) if every else self._room_for_kills(), f"{explored.options.seed} kills in second lives"
        chosen = set[str]()
        for some in ({*last}, {*kills} - {*last}):
            kinds = {path: self._kind_of_kill(path, kills[path]) for path in first.values() if path in some}
            chosen |= {kills[path].digest for path in second_life.varied(kinds, room - len(chosen), seed)}
        level |= {path: state for path, state in kills.items() if state.digest in chosen}
        explored.paths += level
        explored.judge_level(level)

    def _last_of_each_folder(self, path: CrashPath) -> Iterator[CrashPath]:
        """For each folder that crashes in a life left, the last one. The beginning and the end of the life are judged anyway."""
        life = self.lives[path]
        last = {state.tree.digest: (*path, RESUMED, hit) for hit, state in life.states.items()}
        judged = {life.end.tree.digest, self.exploration.states[*path, RESUMED].tree.digest}
        return (crash for digest, crash in last.items() if digest not in judged)

    def _kind_of_kill(self, path: CrashPath, state: CrashState) -> tuple[str, ...]:
        return f"{path[-1][0]} {min(len(state.promises.events), _FIRST_EVENTS)}", self._turn(path[:-2])

    def account(self) -> None:
        """Say in the exploration's notes and details what was done; second lives without any promise are ``unknown``."""
        explored, lives = self.exploration, [*self.lives.values()]
        if not lives:
            return
        promised = sum(life.acknowledged for life in lives)
        killed = {
            explored.states[path].key
            for path in explored.results
            if RESUMED in path and path[-1] != END and path in explored.states
        }
        explored.details.update(resumed=len(lives), resumable=len(self._found), kills_after_resuming=len(killed))
        if not promised:
            self._distrust()
        empty = f"; in {len(lives) - promised} of these, resume acknowledged nothing" if promised < len(lives) else ""
        explored.notes.append(
            f"after recovery, the system was resumed in {len(lives):,} of {len(self._found):,} distinct recovered folders"
            f"{empty}; these second lives were crashed in {len(killed):,} distinct states"
        )

    def _distrust(self) -> None:
        explored = self.exploration
        reason = second_life.nothing_stored(sum(len(life.end.promises.events) for life in self.lives.values()))
        for path, result in [*explored.results.items()]:
            if RESUMED in path and result.verdict is Verdict.SAFE:
                explored.results[path] = replace(result, verdict=Verdict.UNKNOWN, explanation=reason)


def crash_again(checker: Checker, folder: Path, hit: Hit) -> CrashState | Checked:
    """Recover in a folder's ``root``, resume there, and kill for real; returns what is left, or why there was no kill."""
    root, journal = folder / ROOT_NAME, folder / "resumed-journal"
    if unusable := checker.store.capture(root).unusable:
        return Checked(*unusable)
    recovery = checker.run(work.recover, root, False, None)
    if not isinstance(recovery, Returned):
        return Checked(Verdict.UNKNOWN, f"was to be resumed, but recovery {recovery}")
    recovered = Recovered(checker.store.capture(root), tuple(recovery.value[0]))
    kill = None if hit == END else hit
    resuming = checker.patience.resuming
    result = resuming.tried(
        lambda limit: checker.run(work.resume, root, journal, (), kill, recovered.items, limit=limit),
        lambda: _anew(checker, recovered, root, journal),
    )
    if kill is not None and not was_killed(result):
        why = f"was to be killed at {hit[0]}@{hit[1]} once resumed, but {result}"
        return Checked(Verdict.UNKNOWN, why, unmet=isinstance(result, Returned))
    if kill is None and not isinstance(result, Returned):
        failed = second_life.failed_resumption(result, root, resuming.seconds_max)
        return Checked(failed.verdict, failed.explanation)
    return CrashState(checker.store.capture(root), recovered.promises(read_file(journal)), resumed=True)


def _anew(checker: Checker, recovered: Recovered, root: Path, journal: Path) -> None:
    """Lay out what recovery left once more, without a journal."""
    remove_tree(root)
    journal.unlink(missing_ok=True)
    checker.store.restore(recovered.tree, root)


def _parts(paths: Sequence[CrashPath], size: int) -> Iterator[Sequence[CrashPath]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]
