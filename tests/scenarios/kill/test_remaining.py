"""The time that is left is counted in judgements, each as long as those so far."""

from __future__ import annotations

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.checker import Checked, CrashState
from crashmatrix.scenarios.judging.snapshots.of_jobs import Snapshot
from crashmatrix.scenarios.judging.snapshots.tree import Entry, Tree
from crashmatrix.scenarios.kill.remaining import TimeLeft
from crashmatrix.scenarios.target.journal import Promises


def judged(number: int, passed_through: int) -> tuple[CrashState, Checked]:
    """A state, and a judgement whose recovery passed through so many folders that no other passes through."""
    trees = [Tree(((".", Entry("directory", 0o700, f"{number} {each}")),)) for each in range(passed_through)]
    snapshots = tuple(Snapshot(("a", each + 1), tree) for each, tree in enumerate(trees))
    return CrashState(Tree(()), Promises()), Checked(Verdict.SAFE, recovery=snapshots)


@pytest.mark.parametrize(
    ("levels", "passed_through", "lives", "kills", "seconds"),
    [
        (0, 0, 0, 0, 80.0),  # 40 states left, 2 s each
        (2, 0, 0, 0, 80.0),  # Recovery passes through nothing.
        (1, 1, 0, 0, 80.0 + 2 * 10),  # As many as there is room for.
        (2, 1, 0, 0, 80.0 + 2 * 20),
        (0, 0, 8, 0, 80.0 + 2 * 12),
        (0, 0, 0, 5, 80.0 + 2 * 5 + 5 * 3 / 2),
    ],
)
def test_left(
    levels: int, passed_through: int, lives: int, kills: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of fifty states were judged in 20 s by two workers; remembered ones took no time."""
    now = [100.0]
    monkeypatch.setattr("crashmatrix.scenarios.kill.remaining.time.monotonic", lambda: now[0])
    left = TimeLeft(levels=levels, room=10, lives=lives, kills=kills, workload_seconds=3.0)
    left.level(50)
    for number in range(10):
        now[0] += 2.0
        left.judged(*judged(number, passed_through), number + 1)
    assert left.each == pytest.approx(2.0)
    assert left.seconds(2) == pytest.approx(seconds)


def test_recovery_of_some_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next level comes from those that are followed, at their rate; the others count as work only."""
    now = [100.0]
    monkeypatch.setattr("crashmatrix.scenarios.kill.remaining.time.monotonic", lambda: now[0])
    left = TimeLeft(levels=1, room=100)
    left.level(10, 40)
    for number in range(5):
        now[0] += 1.0
        left.judged(*judged(number, 2), number + 1)
    assert left.seconds(1) == pytest.approx(5 + 0.7 * 40 + 20)
    left.level(40, rated=False)
    for number in range(5, 15):
        now[0] += 1.0
        left.judged(*judged(number, 0), number + 1, rated=False)
    assert left.seconds(1) == pytest.approx(30 + 20)
