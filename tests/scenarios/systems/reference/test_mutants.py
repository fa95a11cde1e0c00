"""Planted bugs are found by the kill experiment, and confirmed by a real SIGKILL: here one of each area.

All of them, by either experiment and with three seeds each, are the business of ``make mutants``.
"""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.jobs import Jobs
from crashmatrix.scenarios.systems.reference.mutants import MUTANTS, mutant
from tests.scenarios import job_functions as do

QUICK = ("commit-in-parts", "skip-marker", "leftover-dropped", "set-in-place")


def test_there_are_enough() -> None:
    """At least forty bugs are planted, and every one says what must die for it to show."""
    assert len(MUTANTS) >= 40
    assert {row.dies for row in MUTANTS.values()} == {"process", "machine"}


@pytest.mark.parametrize("name", QUICK)
def test_planted_bug_is_found(name: str) -> None:
    """The bug breaks a promise in some scenario, by snapshot and by real kill alike."""
    found = try_mutant(name, workers=1)
    assert found.found is not None, f"{name} was not found in {found.scenarios} scenarios"
    assert found.found.verdict.broken
    assert found.confirmed


@pytest.mark.parametrize("name", MUTANTS)
def test_bug_can_be_planted(name: str) -> None:
    """What the bug replaces is still there to be replaced."""
    with Jobs(preload=["crashmatrix.scenarios.systems.reference.mutants"]) as jobs:
        ended = jobs.run(do.plant, name, seconds_max=60)
    assert ended.returned, ended


def test_unknown_bug_is_refused() -> None:
    """Asking for a planted bug that does not exist says where the names are."""
    with pytest.raises(UsageError, match="crashmatrix mutants"):
        mutant("no-such")
