"""A second recovery is made once for each folder that recovery leads to; then the system checks itself where it recovered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.target.journal import Event, Item, Promises
from tests.scenarios.judging.test_undisturbed import state_of

pytestmark = pytest.mark.experiment

TOYS = "tests.scenarios.toy_systems"


def later(state: CrashState, item: Item) -> CrashState:
    """The same folder, after one more item was attempted."""
    return replace(state, promises=Promises((), (*state.promises.events, Event("attempt", item))))


def diary_of(checker: Checker, state: CrashState) -> tuple[Checked, list[list[str]]]:
    """The judgement of a state, and what was done for it: a list for each process."""
    diary = Path(checker.target.workspace) / "diary"
    diary.unlink(missing_ok=True)
    checked, lives = checker.check(state), dict[str, list[str]]()
    for line in diary.read_text().splitlines():
        life, what = line.split()
        lives.setdefault(life, []).append(what)
    return checked, [*lives.values()]


@pytest.mark.parametrize(("name", "check"), [("Diary", ["verify"]), ("UncheckedDiary", [])])
def test_processes(name: str, check: list[str], tmp_path: Path) -> None:
    """A folder that is new takes two processes; known with other promises, one; known altogether, no check."""
    with workbench(Plan(target=f"{TOYS}:{name}", report=tmp_path)) as (checker, _):
        state = state_of(checker, 0)
        done = [diary_of(checker, each) for each in (state, later(state, 1), state, state_of(checker, 0, 1))]
    assert [each for _, each in done] == [
        [["recover"], ["recover", *check]],
        [["recover", *check]],
        [["recover"]],
        [["recover"], ["recover", *check]],
    ]
    assert {checked.verdict for checked, _ in done} == {Verdict.SAFE}


def test_a_check_that_fails_where_it_recovered(tmp_path: Path) -> None:
    """Its verdict is that of a check in the second process: a claim counts, a death says nothing of the system."""
    with workbench(Plan(target=f"{TOYS}:Diary", report=tmp_path)) as (checker, _):
        state = state_of(checker, 0)
        checker.check(state)
        found = {end: diary_of(checker, later(state, end)) for end in ("objects", "dies")}
    assert [lives for _, lives in found.values()] == [[["recover", "verify"]]] * 2
    assert (found["objects"][0].verdict, found["objects"][0].explanation) == (Verdict.HOLE, "says the check")
    assert found["dies"][0].verdict is Verdict.UNKNOWN
    assert "the system's own check exited with status 3" in found["dies"][0].explanation
