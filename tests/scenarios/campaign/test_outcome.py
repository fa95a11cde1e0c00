"""An outcome's text and assertions follow its verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import ExperimentSummary, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.findings import finding_id
from crashmatrix.scenarios.campaign.outcome import Outcome


def result(verdict: Verdict, point: str = "a", depth: int = 0) -> ScenarioResult:
    name = f"kill:{point}@1"
    return ScenarioResult(
        id=name, experiment="kill", point=point, hit=1, depth=depth, method="sigkill", fault=name, verdict=verdict,
        explanation="" if verdict is Verdict.SAFE else f"{verdict} there", replay=f"crashmatrix replay {name}",
    )  # fmt: skip


def outcome(*results: ScenarioResult, not_run: dict[str, str] | None = None) -> Outcome:
    parts = {"kill": ExperimentSummary.of(list(results), 1.0, {})} if results else {}
    summary = RunSummary(target="x", seed=0, options={}, versions={}, experiments=parts, not_run=not_run or {})
    return Outcome("Store", "latest", summary, list(results), Path("r"))


SAFE, LOSES, UNKNOWN = result(Verdict.SAFE), result(Verdict.LOSES, "b", 1), result(Verdict.UNKNOWN, "c")
TEXTS = [
    (outcome(SAFE), ["Store (latest): safe; 1 crash; report: r"]),
    (
        outcome(SAFE, not_run={"power": "no root; run as root"}),
        ["Store (latest): safe under kill; power not run: no root; run as root; 1 crash; report: r"],
    ),
    (
        outcome(UNKNOWN, LOSES, SAFE),
        [
            "Store breaks its promise (latest): loses in 2 of 3 crashes",
            "  loses: loses there",
            "    crash: kill at b@1",
            "    again: crashmatrix replay kill:b@1",
            "  unknown: unknown there",
            "    crash: kill at c@1",
            "    again: crashmatrix replay kill:c@1",
            "  all of them: crashmatrix report r",
        ],
    ),
    (
        outcome(not_run={"power": "no root"}),
        [
            "Store: nothing can be said (latest): unknown; power not run in 0 of 0 crashes",
            "  not run: power: no root",
            "  all of them: crashmatrix report r",
        ],
    ),
]


@pytest.mark.parametrize(("made", "lines"), TEXTS, ids=["safe", "safe-without-power", "broken", "nothing"])
def test_text(made: Outcome, lines: list[str]) -> None:
    """The worst scenario of each kind is shown with the command that crashes it again, broken promises first."""
    assert str(made).splitlines() == lines


@pytest.mark.parametrize(("made", "lines"), TEXTS, ids=["safe", "safe-without-power", "broken", "nothing"])
def test_assert_safe(made: Outcome, lines: list[str]) -> None:
    """Only safe passes; unknown is not safe."""
    if made.verdict == "safe":
        made.assert_safe()
        return
    with pytest.raises(AssertionError) as failed:
        made.assert_safe()
    assert str(failed.value).splitlines() == lines


def test_findings() -> None:
    """Each kind of scenario that is not safe is one finding; the worst comes first."""
    assert [finding.verdict for finding in outcome(UNKNOWN, LOSES, SAFE).findings] == [Verdict.LOSES, Verdict.UNKNOWN]


def test_cause_of_another_kind_that_was_shown_to_be_one() -> None:
    """A scenario whose kind was shown to be another finding has the cause of that finding."""
    made = outcome(LOSES)
    other = replace(made.findings[0], id="other", cause="no fsync", also=(finding_id(LOSES),))
    made.summary.findings.append(other)
    assert "    why: no fsync" in str(made).splitlines()
