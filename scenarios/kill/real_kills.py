"""Step 4 of the kill experiment: kill a sample of the scenarios by SIGKILL, and compare what is left with the snapshots.

A snapshot may stand for a kill only as long as both agree: the same promises, the same folder, the same verdict. If they
differ, the scenario is ``unknown``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.kill.exploring import KillExploration
from crashmatrix.scenarios.kill.plan import END, SAMPLE_MIN, SAMPLE_SHARE, CrashPath
from crashmatrix.scenarios.kill.profile import Prepared
from crashmatrix.scenarios.processes.result import JobResult, was_killed
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.journal import Promises

__all__ = ["RealKills", "crash"]


@dataclass
class RealKills:
    """Kills a sample of explored scenarios. ``comparable``: two runs of the workload write the same bytes."""

    exploration: KillExploration
    prepared: Prepared
    comparable: bool
    sample_min: int = SAMPLE_MIN

    def run(self) -> None:
        """Kill the sample; results and details of the exploration say what came of it."""
        explored = self.exploration
        sample = self._sample()
        explored.listener.planned("killing for real", len(sample))
        agreed = 0
        for path, checked in explored.side_by_side(self.kill, sample):
            agreed += checked is None
            result = replace(explored.results[path], method="sigkill")
            if checked is not None:
                result = replace(result, verdict=checked.verdict, explanation=checked.explanation)
            explored.results[path] = result
        explored.details.update(killed_for_real=len(sample), agreed_with_snapshot=agreed)

    def _sample(self) -> list[CrashPath]:
        explored = self.exploration
        size = max(self.sample_min, round(SAMPLE_SHARE * len(explored.results)))
        paths = [path for path in sorted(explored.results) if path in explored.states and path != (END,)]
        sample = random.Random(f"{explored.options.seed} sample").sample(paths, min(size, len(paths)))
        if explored.options.until_broken:
            sample = explored.broken()[:1] or sample
        return sample

    def kill(self, path: CrashPath) -> Checked | None:
        """Kill for real along ``path``; None if that left what the snapshot shows and has its verdict."""
        checker, shown = self.exploration.checker, self.exploration.states[path]
        folder = checker.folder()
        try:
            state = crash(checker, self.prepared, path, folder)
            if isinstance(state, Checked):
                return state
            if self.comparable and (difference := self._difference(state, shown)):
                return Checked(Verdict.UNKNOWN, difference)
            checked, expected = checker.check(state), self.exploration.checked[shown.digest]
            if checked.verdict is expected.verdict:
                return None
            return Checked(Verdict.UNKNOWN, f"{checked.verdict} when killed, {expected.verdict} as in the snapshot")
        finally:
            remove_tree(folder)

    def _difference(self, state: CrashState, shown: CrashState) -> str:
        if state.promises != shown.promises:
            return "the killed process had promised something else than the one whose snapshot was taken"
        if place := self.exploration.checker.difference(state.tree, shown.tree):
            return f"the killed process left another folder than the snapshot shows: {place}"
        return ""


def crash(checker: Checker, prepared: Prepared, path: CrashPath, folder: Path) -> CrashState | Checked:
    """Kill for real along ``path``, in ``folder``; returns what is left in its ``root``, or why no kill happened."""
    root, journal = folder / ROOT_NAME, folder / "journal"
    checker.store.restore(prepared.tree, root)
    for depth, hit in enumerate(path):
        kill = None if hit == END else hit
        if depth == 0:
            result: JobResult[object] = checker.run(work.workload, root, journal, (), kill, root=root)
        elif unusable := checker.store.capture(root).unusable:
            return Checked(*unusable)
        else:
            result = checker.run(work.recover, root, False, kill, root=root)
        if kill is not None and not was_killed(result):
            return Checked(Verdict.UNKNOWN, f"was to be killed at {hit[0]}@{hit[1]}, but {result}")
    written = read_file(journal)
    return CrashState(checker.store.capture(root), Promises.parse(written, prepared.items))
