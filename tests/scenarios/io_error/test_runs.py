"""One run with a fault yields the states of its endings, the calls since the fault, and how the workload ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.io_error.faults import parse_fault
from crashmatrix.scenarios.io_error.plan import ENDINGS
from crashmatrix.scenarios.io_error.runs import FaultyRun, Prepared, begin, prepare, run_with
from crashmatrix.scenarios.io_error.trying import TryFaults
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, answers_alike
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.error_systems import BEFORE_WRITE

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

SYSTEMS = Path(__file__).parents[1] / "error_systems.py"


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[Checker, Prepared]]:
    with workbench(Plan(target=f"{SYSTEMS}:GoesOn", experiments=("io-error",))) as (checker, _):
        yield checker, prepare(checker)


def run(bench: tuple[Checker, Prepared], fault: str, **more: bool) -> FaultyRun:
    checker, prepared = bench
    return run_with(checker, prepared, [CallFault.parse(fault)], ENDINGS, checker.folder(), **more)


def test_calls_are_known_with_their_lines(bench: tuple[Checker, Prepared]) -> None:
    """The undisturbed run names each call, its file, its source line, and tells places of the program apart."""
    places = bench[1].profile.places
    assert [place.made.calls for place in places] == ["open", *["write", "fsync"] * 3]
    assert {place.files for place in places} == {"log"}
    assert all("error_systems.py:" in place.line for place in places)
    assert len({place.stack for place in places}) == 3


def test_a_run_has_its_endings(bench: tuple[Checker, Prepared]) -> None:
    """The states differ by what was acknowledged by then; the run goes on after the error."""
    found = run(bench, "write@2~EIO~once", keep_steps=True)
    events = {ending: [f"{e.kind} {e.item}" for e in state.promises.events] for ending, state in found.states.items()}
    begun = ["attempt 0", "ack 0", "attempt 1"]
    later = [*begun, "fail 1", "attempt 2", "ack 2"]
    assert events == {"killed": begun, "killed-later": later, "reopened": later}
    assert found.went_on and found.fired is not None and found.fired.made.number == 2
    assert found.account is not None and found.account.failed == 1
    assert "call write log -> -5" in found.account.steps


def test_dropped_pages_are_an_ending(bench: tuple[Checker, Prepared]) -> None:
    """After a failed sync, the folder without its cached pages is a state of its own."""
    found = run(bench, "fsync@3~EIO~once")
    assert found.states["uncached"].tree.digest != found.states["reopened"].tree.digest


def test_an_unmet_fault_changes_nothing(bench: tuple[Checker, Prepared]) -> None:
    """A run whose fault no call meets is as the undisturbed one."""
    found = run(bench, "write@4~EIO~once")
    assert found.fired is None
    assert found.states["reopened"].digest == bench[1].end.digest


@pytest.mark.parametrize(
    ("made", "other", "same"),
    [
        ("write@3~EIO~once", "write@3~EIO~twice", True),  # There is no fourth write.
        ("write@2~EIO~once", "write@2~EIO~twice", False),
        ("fsync@3~EIO~once", "fsync@3~EIO~on", True),
        ("write@3~EIO~once", "write@3~ENOSPC~once", False),
        ("write@3~EIO~once", "write@2~EIO~once", False),
    ],
)
def test_which_faults_share_a_run(bench: tuple[Checker, Prepared], made: str, other: str, same: bool) -> None:
    """A run serves for another fault if every call since would have been answered alike."""
    found = run(bench, made)
    assert found.account is not None
    assert answers_alike(CallFault.parse(made), found.account.since)
    assert answers_alike(CallFault.parse(other), found.account.since) == same


@pytest.mark.parametrize(
    ("system", "fault", "instead"),
    [
        ("GoesOn", "write@9~EIO~once", "write@3~EIO~once"),
        ("SwallowsAtFailpoint", "{point}@9~raise(EIO)~once", "{point}@3~raise(EIO)~once"),
        ("SwallowsAtFailpoint", "{point}@9~raise(EIO)~on", "{point}@3~raise(EIO)~on"),
    ],
)
def test_the_last_one_fails_in_place_of_one_that_is_not_made(system: str, fault: str, instead: str) -> None:
    """A workload that makes fewer calls, or hits, than before is tried at its last one, and reported by that."""
    planned, tried_instead = (each.format(point=BEFORE_WRITE.name) for each in (fault, instead))
    with workbench(Plan(target=f"{SYSTEMS}:{system}", experiments=("io-error",))) as (checker, _):
        task = TryFaults(begin(checker), ExperimentOptions())
        (tried,) = task.carry_out(checker, [parse_fault(planned)])
    assert (tried.fault, tried.fired) == (tried_instead, True)
    assert {result.fault for result in tried.results} == {tried_instead}
