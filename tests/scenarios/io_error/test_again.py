"""A scenario is reproduced by more runs than one if these do not take the same steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.io_error.again import RUNS_MAX, again, comes_about_alike
from crashmatrix.scenarios.io_error.judge import Judge
from crashmatrix.scenarios.io_error.runs import Prepared
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.processes.calls.call_faults import CallFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_runs import bench, run

__all__ = ["bench"]

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

FAULT = CallFault.parse("write@2~EIO~once")


def expecting_other_files(prepared: Prepared) -> Prepared:
    """The same, as if an undisturbed run had made its calls in another order."""
    profile = prepared.profile
    return replace(prepared, profile=replace(profile, places=tuple(replace(x, files="other") for x in profile.places)))


def expecting_other_items(prepared: Prepared) -> Prepared:
    """The same, as if an undisturbed run had attempted its items in another order."""
    promises = prepared.end.promises
    return replace(prepared, end=replace(prepared.end, promises=replace(promises, events=promises.events[::-1])))


def test_a_run_is_compared_with_the_undisturbed_one(bench: tuple[Checker, Prepared]) -> None:
    """By the call that fails and by the journal before it; a run whose fault was not met says nothing."""
    prepared, found = bench[1], run(bench, str(FAULT))
    assert comes_about_alike(prepared, found)
    assert not comes_about_alike(expecting_other_files(prepared), found)
    assert not comes_about_alike(expecting_other_items(prepared), found)
    assert not comes_about_alike(prepared, run(bench, "write@9~EIO~once"))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("write@9~short~once", "fewer than 9 calls of class write"),
        ("write@2~short~once", "call 2 of class write could not"),
    ],
)
def test_why_a_fault_did_not_fire(bench: tuple[Checker, Prepared], fault: str, why: str) -> None:
    """The call is not made, or cannot be done in part."""
    unmet = replace(run(bench, "write@9~EIO~once"), fired=None)
    assert why in Judge(bench[0]).judge(CallFault.parse(fault), unmet)["reopened"][0].explanation


def test_a_run_that_takes_other_steps_is_made_again(bench: tuple[Checker, Prepared]) -> None:
    """One run settles it if it is as the undisturbed one, else none does, and the verdict says so."""
    checker, prepared = bench
    once = again(checker, prepared, FAULT, "reopened")
    assert (once.checked.verdict, once.checked.explanation, once.alike) == (Verdict.SAFE, "", True)
    often = again(checker, expecting_other_files(prepared), FAULT, "reopened")
    assert not often.alike
    assert often.checked.explanation.startswith(f"not broken in {RUNS_MAX} runs")
    assert "failed: write log." in often.checked.explanation


def test_the_next_run_fails_the_call_that_is_looked_for(bench: tuple[Checker, Prepared]) -> None:
    """If another call fails than when a promise was broken, the nearest one of that kind about that file fails next."""
    checker, prepared = bench
    places = [replace(x, files="other#" if x.made.number == 1 else x.files) for x in prepared.profile.places]
    other = replace(prepared, profile=replace(prepared.profile, places=tuple(places)))
    settled = again(checker, prepared, FAULT, "reopened", met="write log")
    assert settled.alike
    found = again(checker, other, FAULT, "reopened", met="write other#")
    assert found.numbers == (2, 1, 2, 2, 2)
