"""From the broken scenarios of the kill experiment to findings: the earliest crash, and what happened just before it.

No crash is run again. The snapshots show what changed, in the folder and in the journal, between the last point where a crash
was safe and the first where it was not. A process that dies loses only what it had in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from crashmatrix.reports import Event, Finding, ScenarioResult, Verdict
from crashmatrix.reports.findings import Group, finding_id, group
from crashmatrix.scenarios.judging import second_life, second_recovery
from crashmatrix.scenarios.judging.checker import CrashState
from crashmatrix.scenarios.judging.locations import relative
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.words import HALF_DONE, acknowledged, latest, noted, shown
from crashmatrix.scenarios.judging.worker import Hit
from crashmatrix.scenarios.kill.changes import changes_between, is_loss, is_of_names
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import END, RESUMED, CrashPath, parse_id
from crashmatrix.scenarios.target.contracts.base import BEFORE_ANY_CRASH
from crashmatrix.scenarios.target.journal import AFTER_ATTEMPT, Promises, item_key, several_writers

__all__ = ["KillExplainer"]

_CHANGES_SHOWN, _CHANGES_CAUSING = 4, 2
_NO_CRASH = "the workload saw the promise broken while the system lived: no crash is to blame"
_AT_THE_START = "the promise is broken at the first crash point already, before anything was attempted"
_KEEP = "Remove it only once recovery finds its whole content elsewhere."
_UNREADABLE = (Verdict.CANNOT_OPEN, Verdict.CORRUPT)
_RIGHT_AFTER, _WITH_ACKNOWLEDGEMENT = "a crash right after ", "the promise breaks with the acknowledgement of "
_TAKEN = "Before recovery wrote to any file that it found, it took away what had changed since the attempt."
_NOT_PREPARED = "Have the workload store what `prepare` stores: then it is crashed at each step of that, too."


class KillExplainer:
    """Explains what a kill experiment found, from its snapshots."""

    def __init__(self, experiment: KillExploration) -> None:
        self._experiment = experiment
        self.notes: list[str] = []
        self._order = {path: number for number, path in enumerate(experiment.paths)}
        self._first = [path for path in experiment.states if len(path) == 1]  # Other shards' too: each snapshots all.
        self._declared = {name: (text, relative(place)) for name, (text, place) in experiment.declared.items()}

    def findings(self) -> list[Finding]:
        """Explain each kind of broken promise."""
        groups = group(self._experiment.ordered())
        return [self._explain(found) for found in groups if found.finding.verdict.broken]

    def _explain(self, found: Group) -> Finding:
        example = min(found.results, key=lambda result: (result.depth, self._order[parse_id(result.id)]))
        path = parse_id(example.id)
        if path not in self._experiment.states:
            return found.finding
        state = self._experiment.states[path]
        before_path, before = self._before(path)
        lines = _lines(state.promises)
        told = [
            acknowledged(lines, len(state.promises.initial)),
            f"The process was killed {self._where(path, len(lines))}.",
            self._since(before_path, before, state),
            f"Then: {example.explanation}.",
        ]
        cause, because, suggestion, lost = self._cause(path, before, state, example)
        step_is_blamed = not cause or cause.startswith((_RIGHT_AFTER, _WITH_ACKNOWLEDGEMENT))
        if step_is_blamed and (earlier := self._earlier(path, found.finding.id)):
            cause, because, suggestion, lost = earlier
        return replace(
            found.finding,
            example=example.id,
            replay=example.replay,
            cause=cause,
            explanation=tuple(filter(None, [*told, because])),
            lost=lost,
            suggestion=suggestion,
            timeline=self._timeline(path, example.explanation),
        )

    def _earlier(self, path: CrashPath, finding: str) -> tuple[str, str, str, tuple[str, ...]] | None:
        """The cause, as `_cause` returns it, of the first crash from which on up to this one no crash is safe.

        None if that is this one, or the same finding.
        """
        results = self._experiment.results
        at = self._first.index(path) if len(path) == 1 else 0
        first = at
        while first and (known := results.get(self._first[first - 1])) and known.verdict.broken:
            first -= 1
        earlier = self._first[first]
        if first == at or finding_id(results[earlier]) == finding:
            return None
        cause, _, suggestion, lost = self._cause(
            earlier, self._before(earlier)[1], self._experiment.states[earlier], results[earlier]
        )
        said = (
            f"Each crash from {self._hit(earlier[-1])} to here breaks a promise. If this finding stays once that step is fixed, "
            "it has another cause."
        )
        return (f"perhaps as after an earlier step: {cause}", said, suggestion, lost) if cause else None

    def _before(self, path: CrashPath) -> tuple[CrashPath | None, CrashState | None]:
        """The place before on the way to a crash, and the state a crash there leaves; None if it is the first."""
        states = self._experiment.states
        if len(path) == 1:
            at = self._first.index(path)
            return (self._first[at - 1], states[self._first[at - 1]]) if at else (None, None)
        parent = path[:-1]
        passed = self._passed(parent)
        hits = [snapshot.hit for snapshot in passed]
        at = len(hits) if path[-1] == END else hits.index(path[-1]) if path[-1] in hits else 0
        if at:
            before = (*parent, hits[at - 1])
            return before, states.get(before) or CrashState(passed[at - 1].tree, states[path].promises)
        return parent, states[parent]

    def _passed(self, path: CrashPath) -> tuple[Snapshot, ...]:
        """The snapshots of the recovery from what a scenario left, or of the second life that began there."""
        if path[-1] == RESUMED:
            return self._experiment.snapshots.get(path, ())
        checked = self._experiment.checked.get(self._experiment.states[path].key)
        return checked.recovery if checked else ()

    def _where(self, path: CrashPath, lines: int) -> str:
        line = f", after line {lines} of the journal" if lines else ""
        if RESUMED in path:
            at = path.index(RESUMED)
            ended = "stopped in order" if path[-1] == END else f"killed again, at {self._hit(path[-1])}{line}"
            return f"{self._where(path[:at], 0)}; it recovered, was resumed, and was {ended}"
        first = f"at {self._hit(path[0])}{line}"
        again = "".join(f", and again while recovering, at {self._hit(hit)}" for hit in path[1:])
        return first + again

    def _hit(self, hit: Hit) -> str:
        if hit == END:
            return "the workload's end"
        if hit == RESUMED:
            return "where it was resumed"
        text, place = self._declared.get(hit[0], ("", ""))
        if hit in self._experiment.places:
            call, line = self._experiment.places[hit]
            place = line or place
            text = f"about to {call}" if call else text
            if not place and call:
                return f"hit {hit[1]} of {hit[0]} ({text})"
        about = f": {text}" if text else ""
        return f"hit {hit[1]} of {hit[0]} ({place}{about})" if place else f"hit {hit[1]} of {hit[0]}"

    def _since(self, before_path: CrashPath | None, before: CrashState | None, state: CrashState) -> str:
        if before is None or before_path is None:
            return "There is no earlier crash point."
        known = self._experiment.results.get(before_path)
        how = {None: "nothing is known of a crash there", True: "a crash there is safe"}.get(
            None if known is None else known.verdict is Verdict.SAFE, "a crash there breaks a promise, too"
        )
        changes = [*_lines(state.promises)[len(_lines(before.promises)) :], *changes_between(before.tree, state.tree)]
        what = "; ".join(map(shown, changes[:_CHANGES_SHOWN])) or "nothing"
        more = f"; and {len(changes) - _CHANGES_SHOWN} more" if len(changes) > _CHANGES_SHOWN else ""
        return f"The place before it is {self._hit(before_path[-1])}: {how}. In between: {what}{more}."

    def _cause(
        self, path: CrashPath, before: CrashState | None, state: CrashState, example: ScenarioResult
    ) -> tuple[str, str, str, tuple[str, ...]]:
        """Cause, a sentence more, suggestion and what was lost; each empty where the snapshots do not say."""
        if RESUMED in path:
            return *second_life.CAUSE, "", ()
        if second_recovery.is_about(example.explanation):
            return *second_recovery.CAUSE, "", ()
        if example.explanation.startswith(BEFORE_ANY_CRASH):
            return _NO_CRASH, "", "", ()
        if before is None and not state.promises.events:
            return _AT_THE_START, "", _NOT_PREPARED if state.promises.initial else "", ()
        verdict = example.verdict
        changes = changes_between(before.tree, state.tree) if before else []
        if not changes and len(path) == 1 and (found := self._acknowledged(path, state, verdict)):
            return found
        if not changes:
            return "", "", "", ()
        gone = [change for change in changes if change.endswith(" removed")]
        loses = verdict in (Verdict.LOSES, Verdict.HOLE)
        since = _lines(state.promises)[len(_lines(before.promises)) :] if before and loses else []
        acked = [shown(line) for line in since if line.startswith("ack ")][-1:]  # It may be to blame as well.
        what = "; ".join([*acked, *(gone or changes)[:_CHANGES_CAUSING]])
        suggestion = ""
        if gone and (loses or verdict is Verdict.CANNOT_OPEN):
            suggestion = _KEEP
        elif len(path) == 1 and verdict in _UNREADABLE and _is_in_flight(state) and not any(map(is_of_names, changes)):
            suggestion = HALF_DONE
        step = "these steps" if acked else "this step"
        when = "during recovery" if len(path) > 1 else "in the workload"
        cause = f"{_RIGHT_AFTER}{step} {when} breaks the promise: {what}"
        taken, why = self._taken_by_recovery(path, state, verdict)
        return cause + taken, why, suggestion or (_KEEP if taken.endswith(" removed") else ""), ()

    def _acknowledged(
        self, path: CrashPath, state: CrashState, verdict: Verdict
    ) -> tuple[str, str, str, tuple[str, ...]] | None:
        """The cause, as `_cause` returns it, if the journal's last line acknowledges an item, and is to blame."""
        events = state.promises.events
        if not events or events[-1].kind != "ack":
            return None
        item, last = shown(item_key(events[-1].item)), self._last_changes(path, state)
        if last:
            what = "; ".join(last[:_CHANGES_CAUSING])
            cause = f"{_WITH_ACKNOWLEDGEMENT}{item}, after this step in the workload: {what}"
            because = "The folder did not change from there to the acknowledgement"
            taken, why = self._taken_by_recovery(path, state, verdict)
            others = ", and it may be another writer's" if several_writers(state.promises) else ""
            because += f". {why}" if taken else f": recovery needs more than that step left{others}."
            return cause + taken, because, _KEEP if taken.endswith(" removed") else "", ()
        if last is None or verdict not in (Verdict.LOSES, Verdict.HOLE):
            return None
        return (
            f"{item} was acknowledged before anything of it was handed to the kernel",
            f"From the attempt of {item} to its acknowledgement, the folder did not change: it was in the memory of "
            "the process only.",
            "Write what is to be acknowledged, and only then acknowledge it.",
            (f"{item}: in the memory of the process only",),
        )

    def _last_changes(self, path: CrashPath, state: CrashState) -> list[str] | None:
        """The last changes of the folder before a crash, if they came after the attempt of the last acknowledged item.

        Empty if nothing changed since then; None if that is not known: a copy of the folder at that moment would tell.
        """
        attempted = _attempted(state)
        passed = self._first[: self._first.index((path[0],)) + 1]
        for earlier, (hit,) in reversed([*pairwise(passed)]):
            before = self._experiment.states[earlier]
            changes = changes_between(before.tree, self._experiment.states[(hit,)].tree)
            if len(before.promises.events) < attempted:
                return None if changes and hit[0] != AFTER_ATTEMPT.name else []
            if changes:
                return changes
        return []

    def _taken_by_recovery(self, path: CrashPath, state: CrashState, verdict: Verdict) -> tuple[str, str]:
        """Find the files that changed since the attempt of the item acknowledged last, and that recovery removed or cut off.

        A file counts until recovery writes to any file that it found, or replaces one: from then on, the content may be
        elsewhere. Returns words for the cause, and a sentence; both are empty if there is no such file, if the last item was not
        acknowledged yet, or if the verdict is not that something was lost or cannot be read.
        """
        events = state.promises.events
        lost = verdict in (Verdict.LOSES, Verdict.HOLE, *_UNREADABLE)
        if len(path) > 1 or not lost or not events or events[-1].kind != "ack":
            return "", ""
        states, attempted = (self._experiment.states[each] for each in self._first), _attempted(state)
        begun = next(each for each in states if len(each.promises.events) >= attempted)
        changed, found = begun.tree.difference(state.tree), dict(state.tree.entries)
        taken: list[str] = []
        trees = [state.tree, *(snapshot.tree for snapshot in self._passed(path))]
        for before, after in pairwise(trees):
            changes = changes_between(before, after)
            if any(each == f"{name} written" or f" becomes {name}, " in each for each in changes for name in found):
                break  # In which order these came is not known.
            taken += [
                each for each in changes if is_loss(each) and any(each.startswith(f"{name} ") for name in changed)
            ]
        taken.sort(key=lambda each: each.endswith(" removed"))
        return (f"; and this one in recovery: {'; '.join(taken[:_CHANGES_SHOWN])}", _TAKEN) if taken else ("", "")

    def _timeline(self, path: CrashPath, outcome: str) -> tuple[Event, ...]:
        events = latest([*self._way(path)])
        end = events[-1].at if events else 0
        in_order = RESUMED in path and path[-1] == END
        last = Event(at=end, kind="cut", text="the system is stopped in order" if in_order else "the process is killed")
        return (*events, last, Event(at=end, kind="recovered", text=outcome))

    def _way(self, path: CrashPath) -> Iterator[Event]:
        """The places that a run passes on the way to a crash, with what happened in between."""
        tree, lines, at = Tree(()), list[str](), 0
        if (path[0],) not in self._first:
            return
        passed = self._first[: self._first.index((path[0],)) + 1]
        stations = [(hit, self._experiment.states[(hit,)]) for (hit,) in passed]
        tree = stations[0][1].tree
        for hit, state in stations:
            yield from _steps(at, lines, _lines(state.promises), tree, state.tree)
            yield self._event(at, hit)
            tree, lines, at = state.tree, _lines(state.promises), at + 1
        for depth in range(1, len(path)):
            before = path[:depth]
            if before[-1] == RESUMED:
                yield Event(at=at, kind="note", text="recovery ends, and the system is resumed")
                tree, lines = self._experiment.states[before].tree, []
            else:
                yield Event(at=at, kind="note", text="the process is killed, and recovery begins")
            for snapshot in self._passed(before):
                known = self._experiment.states.get((*before, snapshot.hit))
                after = _lines(known.promises) if known and known.resumed else lines
                yield from _steps(at, lines, after, tree, snapshot.tree)
                yield self._event(at, snapshot.hit)
                tree, lines, at = snapshot.tree, after, at + 1
                if snapshot.hit == path[depth]:
                    break
        if path[-1] == END and RESUMED in path:
            end = self._experiment.states[path]
            yield from _steps(at, lines, _lines(end.promises), tree, end.tree)

    def _event(self, at: int, hit: Hit) -> Event:
        return Event(at=at, kind="hit", text=f"{hit[0]}, hit {hit[1]}", detail=self._declared.get(hit[0], ("", ""))[1])


def _steps(at: int, lines: Sequence[str], lines_after: Sequence[str], before: Tree, after: Tree) -> Iterator[Event]:
    for change in changes_between(before, after):
        yield Event(at=at, kind="write", text=change, fate="kept")
    yield from (noted(at, line) for line in lines_after[len(lines) :])


def _lines(promises: Promises) -> list[str]:
    return [f"{event.kind} {item_key(event.item)}" for event in promises.events]


def _is_in_flight(state: CrashState) -> bool:
    """Whether the last that the journal says is that an item was attempted."""
    return bool(state.promises.events) and state.promises.events[-1].kind == "attempt"


def _attempted(state: CrashState) -> int:
    """How many lines the journal had once the last acknowledged item was attempted."""
    events = state.promises.events
    item = events[-1].item
    return max(at for at, event in enumerate(events, 1) if event.kind == "attempt" and event.item == item)
