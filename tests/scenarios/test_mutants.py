"""Every planted bug is found by the kill experiment, and confirmed by a real SIGKILL."""

from __future__ import annotations

import pytest

from scenarios.campaign import Plan, experiment_of, workbench
from scenarios.errors import UsageError
from scenarios.mutants import MUTANTS, mutant


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_found(name: str) -> None:
    """The bug breaks a promise in some scenario, by photograph and by real kill alike."""
    plan = Plan(mutant=name, workers=1)
    with workbench(plan) as (checker, _):
        experiment = experiment_of(plan, checker)
        experiment.until_broken = True
        experiment.run()
    broken = [result for result in experiment.ordered() if result.verdict.broken]
    assert broken, f"{name} was not found in {len(experiment.results)} scenarios"
    assert experiment.details["agreed_with_photograph"] == experiment.details["killed_for_real"] == 1
    assert "sigkill" in {result.method for result in broken}


def test_unknown_bug_is_refused() -> None:
    """Asking for a planted bug that does not exist says where the names are."""
    with pytest.raises(UsageError, match="crashmatrix mutants"):
        mutant("no-such")
