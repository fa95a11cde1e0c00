"""A hang is believed once for its whole limit; from then on, the limit is learnt from the recoveries that ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import CrashState
from crashmatrix.scenarios.judging.patience import SECONDS_MIN, TIMES, Learnt, Patience
from crashmatrix.scenarios.kill.profile import prepare
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
    assert Patience(30, Learnt(0.5, True)).limit == TIMES * 0.5


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
