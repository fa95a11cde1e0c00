"""Which of the changes that were in memory only are to blame: the fewest whose loss breaks the promise in the same way.

A crash of a disk lacks everything that had not reached it, such as files that nobody needs after a power cut. In the trace of the
workload's calls, each of these changes can be given back, and the crash is judged again:

    broken with none of them lost      no change in memory is to blame
    safe with all of them lost         not known, as the other run wrote other bytes: all of them stay suspected
    broken with some of them lost      these are to blame; what else was lost of the same files goes with them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crashmatrix.faults.disk import CrashState, Trace, load_trace
from crashmatrix.faults.disk.trace.named import NAMES
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.power.explain.losses import Loss
from crashmatrix.scenarios.power.explain.minimise import Budget, fewest_lost
from crashmatrix.scenarios.power.explain.unsynced import Missing
from crashmatrix.scenarios.power.judge import judging
from crashmatrix.scenarios.power.results import result_of
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["blamed", "to_blame"]


def blamed(target: Target, calls: Recording, loss: Loss, finding: str, tries_max: int) -> tuple[Loss, int]:
    """Return a loss without the blame of changes that do not deserve it; and how many states were judged for that.

    Args:
        calls: the same workload recorded on the `posix` filesystem.
        finding: the id of the finding to explain.
    """
    trace = load_trace(calls.trace)
    with judging(target, calls, trace) as judge:
        budget = Budget(lambda state: finding_id(result_of(calls, judge(state))) == finding, tries_max)
        guilty = to_blame(trace, loss.called_to, loss.missing or (), budget.broken)
    used = tries_max - budget.left
    if guilty is None or (not guilty and (loss.gone or loss.torn)):  # Those writes are known to be needed.
        return loss, used
    return loss.blaming(guilty), used


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
