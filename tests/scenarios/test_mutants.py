"""Every planted bug is found by the kill experiment, and confirmed by a real SIGKILL."""

from __future__ import annotations

import pytest

from scenarios.errors import UsageError
from scenarios.mutants import MUTANTS, mutant
from scenarios.self_proof import hunt


@pytest.mark.parametrize("name", [name for name, row in MUTANTS.items() if "kill" in row.experiments])
def test_planted_bug_is_found(name: str) -> None:
    """The bug breaks a promise in some scenario, by photograph and by real kill alike."""
    found = hunt(name, workers=1)
    assert found.found is not None, f"{name} was not found in {found.scenarios} scenarios"
    assert found.found.verdict.broken
    assert found.confirmed


def test_unknown_bug_is_refused() -> None:
    """Asking for a planted bug that does not exist says where the names are."""
    with pytest.raises(UsageError, match="crashmatrix mutants"):
        mutant("no-such")
