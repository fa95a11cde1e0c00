"""A hang is believed once for its whole limit; from then on, the limit is learnt from the recoveries that ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import CrashState
from crashmatrix.scenarios.judging.patience import RESUMED_TIMES, SECONDS_MIN, TIMES, Learnt, Patience
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, Returned, TimedOut
from tests.scenarios.kill.test_experiment import TOYS

LIMITS = [
    ("nothing is known", [], 1, 30),
    ("none hung", [0.1, 2.0], 1, 30),
    ("a hang, and nothing ended", ["hung"], 1, 30),
    ("a hang within a shorter limit", [0.1, "short"], 1, 30),
    ("a hang after quick ones", [0.01, 0.02, "hung"], 1, SECONDS_MIN),
    ("the slowest counts", [0.1, 0.5, 0.2, "hung"], 1, TIMES * 0.5),
    ("what ends later counts, too", [0.1, "hung", 0.4], 1, TIMES * 0.4),
    ("never above the whole limit", [3.0, "hung"], 1, 30),
    ("twice at once", [0.1, "hung"], 2, 2 * TIMES * 0.1),
]


@pytest.mark.parametrize(("name", "seen", "tries", "limit"), LIMITS, ids=[row[0] for row in LIMITS])
def test_limits(name: str, seen: list[float | str], tries: int, limit: float) -> None:
    """The limit follows from what was seen, and the rule is stated exactly while it is shorter."""
    del name
    patience = Patience(30, tries=tries)
    for one in seen:
        if isinstance(one, str):
            assert patience.hung(30 if one == "hung" else 2) is (one == "hung")
        else:
            patience.ended(one)
    assert patience.limit == pytest.approx(limit)
    assert bool(patience.rule) is (limit < 30)


def test_learnt_by_several() -> None:
    """The knowledge of several judges adds up."""
    assert Learnt(1, True) | Learnt(2, False) == Learnt(2, True)
    assert Learnt(1, False, 3, True) | Learnt(2, True, 4, False) == Learnt(2, True, 4, True)
    assert Patience(30, Learnt(0.5, True)).limit == TIMES * 0.5


RESUMED = [
    ("nothing is known", Learnt(), 1, 300),
    ("a recovery hung", Learnt(0.1, True), 1, 300),
    ("a life hung, and nothing ended", Learnt(hung_resumed=True), 1, 300),
    ("the slowest life counts", Learnt(0.001, False, 3.0, True), 1, TIMES * 3.0),
    ("the slowest recovery stands for a life", Learnt(0.1, False, 0.0, True), 1, TIMES * RESUMED_TIMES * 0.1),
    ("twice at once", Learnt(0.01, False, 0.0, True), 2, 2 * TIMES * RESUMED_TIMES * 0.01),
    ("never below the least", Learnt(0.001, False, 0.0, True), 1, SECONDS_MIN),
]


@pytest.mark.parametrize(("name", "learnt", "tries", "limit"), RESUMED, ids=[row[0] for row in RESUMED])
def test_limits_of_second_lives(name: str, learnt: Learnt, tries: int, limit: float) -> None:
    """Second lives have ten times the limit of recoveries, until one hung for all of it; then a rule is stated, too."""
    del name
    patience = Patience(30, learnt, tries=tries)
    assert patience.resuming.limit == pytest.approx(limit)
    assert ("resume had hung" in patience.rule) is (limit < 300)


def test_a_second_life_is_tried_again() -> None:
    """One that is cut short by a learnt limit is tried once more; one that had the whole limit, or ends, is not."""
    patience, given, laid_out = Patience(30, Learnt(slowest=0.01)), list[float](), list[int]()

    def resume(*results: JobResult[None]) -> JobResult[None]:
        def take(limit: float) -> JobResult[None]:
            given.append(limit)
            return to_come.pop(0)

        to_come = [*results]
        return patience.resuming.tried(take, lambda: laid_out.append(len(given)))

    assert resume(TimedOut()) == TimedOut()  # It had the whole limit.
    assert resume(TimedOut(), Returned(None)) == Returned(None)
    assert resume(TimedOut(), TimedOut()) == TimedOut()
    assert resume(Died(-9)) == Died(-9)
    short = TIMES * RESUMED_TIMES * 0.01
    assert given == pytest.approx([300, *[short] * 5])
    assert laid_out == [2, 4]


def test_a_claim_is_a_hang() -> None:
    """A system that says it waited in vain has hung."""
    patience = Patience(30, Learnt(slowest=0.01))
    claim = Raised(("PromiseBroken",), "", "", (Verdict.HANGS, "not ready"))
    assert patience.resuming.tried(lambda _: claim, lambda: None) is claim
    assert patience.resuming.limit < 300


def test_the_second_hang_takes_less(tmp_path: Path) -> None:
    """A state that hangs is judged so, with the whole limit and with the learnt one; those that end are safe after it, too."""
    with workbench(Plan(target=f"{TOYS}:HangsWithTwo", report=tmp_path)) as (checker, _):
        prepared = prepare(checker)
        none, all_of_them = CrashState(prepared.tree, prepared.promises), CrashState(prepared.final, prepared.promises)
        empty = CrashState(prepared.tree, type(prepared.promises).parse(b"", ()))
        assert checker.check(empty).verdict is Verdict.SAFE
        assert checker.check(all_of_them).verdict is Verdict.HANGS
        assert checker.patience.learnt.hung
        checker.patience.learnt = Learnt(0.05, True)  # whatever this machine took
        checker.patience.seconds_max = 3600
        assert checker.patience.limit == SECONDS_MIN
        assert checker.check(all_of_them).verdict is Verdict.HANGS
        assert checker.check(empty).verdict is Verdict.SAFE
        assert checker.check(none).verdict is Verdict.LOSES
