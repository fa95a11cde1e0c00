"""A mutation run takes the experiments that kill what must die for the bug to show."""

from __future__ import annotations

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.mutation import MutantRun, kinds_for, try_mutant
from crashmatrix.scenarios.errors import TargetFails, UsageError

FOUND = ScenarioResult(
    id="kill:a@1", experiment="kill", point="a", hit=1, depth=0, method="sigkill", fault="a=kill", verdict=Verdict.LOSES
)


@pytest.mark.parametrize(
    ("mutant", "found", "verdict", "confirmed", "well"),
    [
        ("bug", FOUND, Verdict.LOSES, True, True),
        ("bug", FOUND, Verdict.LOSES, False, False),
        ("bug", None, Verdict.SAFE, True, False),
        ("bug", None, Verdict.UNKNOWN, True, False),
        ("", None, Verdict.SAFE, True, True),
        ("", None, Verdict.SAFE, False, False),
        ("", None, Verdict.UNKNOWN, True, False),
        ("", FOUND, Verdict.LOSES, True, False),
    ],
)
def test_as_it_should_be(
    mutant: str, found: ScenarioResult | None, verdict: Verdict, confirmed: bool, well: bool
) -> None:
    """A bug must be found and confirmed; the unbroken engine must be safe, and unknown is not safe."""
    run = MutantRun(mutant=mutant, found=found, verdict=verdict, scenarios=1, seconds=1.0, confirmed=confirmed)
    assert run.as_it_should_be is well


@pytest.mark.parametrize(("dies", "names"), [("process", ["kill"]), ("machine", ["power"]), ("nothing", [])])
def test_which_experiments(dies: str, names: list[str]) -> None:
    """The part that must die for a bug to show decides which experiments search it."""
    assert [kind.name for kind in kinds_for(dies)] == names


def test_an_unknown_bug_is_refused() -> None:
    """The refusal says how to list them."""
    with pytest.raises(UsageError, match="mutants --list"):
        try_mutant("no-such-bug")


@pytest.mark.experiment
def test_a_bug_that_shows_without_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that works without the bug and fails with it, twice, has found it. The unbroken engine's failure is an error."""
    found = try_mutant("torn-tail-closed", workers=1)
    assert found.as_it_should_be and found.id == "undisturbed"
    assert found.found is not None and "LogCorrupted" in found.found.explanation

    def fails(*_: object) -> None:
        raise TargetFails("the undisturbed workload fails")

    monkeypatch.setattr("crashmatrix.scenarios.campaign.mutation.search", fails)
    assert try_mutant("torn-tail-closed").confirmed
    with pytest.raises(TargetFails):
        try_mutant("")
