"""Planted bugs are found by the kill experiment, and confirmed by a real SIGKILL: here one of each area.

All of them, by either experiment and with three seeds each, are the business of ``make mutants``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.processes.result import Returned
from crashmatrix.scenarios.systems.reference.mutation.mutants import MUTANTS, mutant
from tests.scenarios import job_functions as do

FEW = (
    "commit-in-parts",
    "set-in-place",
    pytest.param("sync-retried", marks=pytest.mark.slow),
    pytest.param("skip-marker", marks=pytest.mark.slow),
    pytest.param("leftover-dropped", marks=pytest.mark.slow),
)


def test_there_are_enough() -> None:
    """There are at least forty planted bugs, and each says what must die for it to show."""
    assert len(MUTANTS) >= 40
    assert {row.dies for row in MUTANTS.values()} == {"process", "machine", "call"}


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.parametrize("name", FEW)
def test_planted_bug_is_found(name: str) -> None:
    """The bug breaks a promise in some scenario, by snapshot and by real kill alike."""
    found = try_mutant(name, workers=1)
    assert found.found is not None, f"{name} was not found in {found.scenarios} scenarios"
    assert found.found.verdict.broken
    assert found.confirmed


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["crashmatrix.scenarios.systems.reference.mutation.mutants"]) as running:
        yield running


@pytest.mark.lengthy
@pytest.mark.parametrize("name", MUTANTS)
def test_bug_can_be_planted(jobs: Jobs, name: str) -> None:
    """The code that the bug replaces is still there."""
    assert jobs.run(do.plant, name, seconds_max=250) == Returned(None)


def test_unknown_bug_is_refused() -> None:
    """The error for an unknown planted bug says where the names are listed."""
    with pytest.raises(UsageError, match="crashmatrix mutants"):
        mutant("no-such")
