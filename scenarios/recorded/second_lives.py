"""Life after the power cut: the system recovers on a mounted crash state, is resumed there, stops in order, and starts again.

    1. recover, in a forked process
    2. resume, in another one: the system stores new items, and a journal beside the disk says which it acknowledged
    3. recover again, and judge: what was recovered before is owed, and what was acknowledged since

A sample: each folder that recovery leads to is gone on from once, as far as the run's share of second lives allows
(`state_judge`). Folders unlike those before come first (`kind_of_life`). Where single states are judged, to replay or to
minimise one, each gets a second life. A power cut during a second life is judged in a recording of its own (`recording`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.judging import second_life
from crashmatrix.scenarios.judging.forked_check import Apart, run_checker
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.judging.worker import recovered_items
from crashmatrix.scenarios.processes.sandbox.cell import Cell
from crashmatrix.scenarios.processes.sandbox.view import View, without_paths
from crashmatrix.scenarios.recorded.state_verdict import Check, Judged, for_
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Violation, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Item, Journal, Promises

__all__ = ["LifeJudge", "kind_of_life", "resumed_at", "resumed_kind"]


def resumed_at(recovered: str) -> Check:
    """Return the check that was made once the system was resumed in the folder of this digest."""
    return for_("resumed in", recovered)


def kind_of_life(judged: Judged) -> tuple[str, ...]:
    """Return the kind of a second life before it begins: its parts, in the order in which they count."""
    return *judged.kind, "torn" * judged.torn


def resumed_kind(kind: Sequence[str]) -> Check:
    """Return the check that was made once the system was resumed in a folder of this kind."""
    return for_("resumed in kind", " ".join(kind))


class LifeJudge:
    """Judges second lives of a target.

    Args:
        scratch: a folder outside the disk, for their journals.
        cell: where they run, if there is one.
        patience: the time limits of recoveries, and of second lives after one hung; by default the target's own.
        boot: the machine's boot id (`boots`).
    """

    def __init__(
        self, target: Target, scratch: Path, cell: Cell | None, patience: Patience | None = None, boot: str = ""
    ) -> None:
        self._target, self._scratch, self._cell, self._boot = target, scratch, cell, boot
        self._kind = load(target.name)
        self._contract = contract_named(self._kind.contract)
        self.lives = self.promised = 0
        """How many second lives there were, and how many of them acknowledged something."""
        self._patience = patience or Patience(self._kind.seconds_max, tries=2)

    @cached_property
    def _view(self) -> View:
        return replace(self._target.view(), boot=self._boot)

    def judge(self, root: Path) -> Violation | None:
        """Return what is wrong with the second life that begins with recovery in a crashed folder; None if nothing is."""
        violation = self._judge(root)
        return Violation(violation.verdict, without_paths(violation.explanation, root)) if violation else None

    def _judge(self, root: Path) -> Violation | None:
        journal = self._scratch / f"resumed-{self.lives}"
        journal.touch()
        view = replace(self._view, folder=root.parent, notes=journal)
        apart = Apart(self._cell, view) if self._cell else None
        inside, lines = (view.inside(root), view.inside(journal)) if apart else (root, journal)
        verdict, items = self._recovered(partial(self._recover, inside, None), apart)
        if verdict is not Verdict.SAFE:
            return Violation(Verdict.UNKNOWN, f"recovered once more, to be resumed: {items}")
        self.lives += 1
        if violation := self._resumed(partial(self._resume, inside, lines, items), apart):
            return violation
        try:
            promises = Promises.parse(journal.read_bytes(), items)
        except UsageError as error:
            return Violation(Verdict.UNKNOWN, f"when it was resumed: {error}")
        self.promised += any(event.kind == "ack" for event in promises.events)
        if again := second_life.stored_again(self._contract, promises):
            return Violation(Verdict.UNKNOWN, again)
        verdict, found = self._recovered(partial(self._recover, inside, promises), apart)
        return None if verdict is Verdict.SAFE else Violation(verdict, _named(str(found), promises))

    def _recovered(
        self, recover: Callable[[Callable[[], None]], list[Item]], apart: Apart | None
    ) -> tuple[Verdict, Any]:
        """Recover within the limit; returns the verdict, and the items or why there are none."""
        begun, limit = time.monotonic(), self._patience.limit
        verdict, found = run_checker(recover, limit, apart)
        if verdict is Verdict.HANGS:
            self._patience.hung(limit)
        elif verdict is not Verdict.UNKNOWN:  # Then it may not have begun.
            self._patience.ended(time.monotonic() - begun)
        return verdict, found

    def _resumed(self, resume: Callable[[Callable[[], None]], None], apart: Apart | None) -> Violation | None:
        """Resume within the limit; returns why that failed, if it did."""
        resuming = self._patience.resuming
        begun, limit = time.monotonic(), resuming.limit
        verdict, found = run_checker(resume, limit, apart, what="resume")
        if verdict is Verdict.HANGS:  # Perhaps by its own word, before the limit.
            resuming.hung(resuming.seconds_max if time.monotonic() - begun < limit else limit)
        elif verdict is not Verdict.UNKNOWN:
            resuming.ended(time.monotonic() - begun)
        return None if verdict is Verdict.SAFE else second_life.failed_check(verdict, str(found), resuming.seconds_max)

    def _recover(self, root: Path, promises: Promises | None, recovered: Callable[[], None]) -> list[Item]:
        items = recovered_items(self._target.make().recover(root))
        recovered()
        if promises and (violation := judge_safely(self._contract, promises, items)):
            raise PromiseBroken(violation.verdict, second_life.named(violation.explanation, promises, items))
        return items

    def _resume(self, root: Path, journal: Path, items: list[Item], recovered: Callable[[], None]) -> None:
        del recovered  # Any error is the system's fault.
        self._target.make().resume(root, Journal(journal, items))


def _named(explanation: str, promises: Promises) -> str:
    return explanation if second_life.is_about(explanation) else second_life.named(explanation, promises, None)
