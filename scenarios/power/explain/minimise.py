"""Minimise a crash state: another one that breaks the promise in the same way, with fewer writes lost, at an earlier cut.

Delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002), over the writes that a
crash state lacks: they are given back in halves, in quarters, at last one by one, while the promise stays broken.

A crash of a disk lacks changes as well that had not reached it, such as those of files that nobody needs after a power cut. In
the trace of the workload's calls, each of these can be given back, too, and the crash is judged again:

    broken with none of them lost      no change in memory is to blame
    safe with all of them lost         not known, as the other run wrote other bytes: all of them stay suspected
    broken with some of them lost      these are to blame; whatever else was lost of the same files goes with them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from crashmatrix.faults.disk import CrashState, Trace
from crashmatrix.faults.disk.trace.named import NAMES
from crashmatrix.scenarios.power.explain.unsynced import Missing

__all__ = ["Budget", "earliest", "fewest_lost", "to_blame"]


class Budget:
    """Judges whether a state breaks the promise in the same way: a limited number of times, each state once."""

    def __init__(self, broken: Callable[[CrashState], bool], most: int) -> None:
        self._broken, self.left = broken, most
        self._known: dict[CrashState, bool] = {}

    def broken(self, state: CrashState) -> bool:
        """Whether the state breaks the promise; False if there is no budget left to judge the state."""
        if state not in self._known:
            if not self.left:
                return False
            self.left -= 1
            self._known[state] = self._broken(state)
        return self._known[state]


def earliest(trace: Trace, state: CrashState, cuts: Iterable[int], budget: Budget, tries_max: int) -> CrashState:
    """Return the state at the first of the cuts at which losing the same breaks the promise, else the state itself.

    At an earlier cut, the state's lost writes that are pending there are lost. If none of them is pending there, and the
    state has lost some, every pending write is lost.
    """
    pending = trace.pending(state.cut)
    lost = {position for index, position in enumerate(pending) if not state.kept >> index & 1}
    for cut in [cut for cut in cuts if cut < state.cut][:tries_max]:
        there = trace.pending(cut)
        same = [index for index, position in enumerate(there) if position in lost]
        every = (1 << len(there)) - 1
        kept = every ^ sum(1 << index for index in same) if same or not lost else 0
        candidate = CrashState(cut, kept, (), len(there))
        if budget.broken(candidate):
            return candidate
    return state


def fewest_lost(state: CrashState, budget: Budget) -> CrashState:
    """Return the state with every tear made whole, and every lost write given back, that the broken promise does not need."""
    for tear in state.tears:
        whole = replace(state, tears=tuple(other for other in state.tears if other != tear))
        if budget.broken(whole):
            state = whole
    lost = [index for index in range(state.pending) if not state.kept >> index & 1]
    size = len(lost)
    while lost and size:
        parts = [lost[start : start + size] for start in range(0, len(lost), size)]
        for part in parts:
            given = replace(state, kept=state.kept | sum(1 << index for index in part))
            if budget.broken(given):
                state = given
        lost = [index for index in lost if not state.kept >> index & 1]
        size = min(size, len(lost)) // 2 if size > 1 else 0
    return state


def to_blame(
    trace: Trace, cut: int, missing: Sequence[Missing], broken: Callable[[CrashState], bool]
) -> tuple[Missing, ...] | None:
    """Return those of the missing changes whose loss the broken promise needs; None if that is not known.

    Args:
        trace: of the workload's calls, up to ``cut``.
    """
    pending, lost = trace.pending(cut), {each.at for each in missing}
    kept = sum(1 << index for index, at in enumerate(pending) if at not in lost)
    state = CrashState(cut, kept, (), len(pending))
    if broken(CrashState.whole(trace, cut)):
        return ()
    if not broken(state):
        return None
    needed = fewest_lost(state, Budget(broken, len(pending) ** 2))
    left = {at for index, at in enumerate(pending) if not needed.kept >> index & 1}
    files = {each.named.now for each in missing if each.at in left and each.named.kind != NAMES}
    return tuple(each for each in missing if each.at in left or (each.named.kind != NAMES and each.named.now in files))
