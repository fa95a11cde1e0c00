"""A finding of kills names the step that breaks the promise, and the place before it, where a crash was safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Finding
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.kill.plan import RESUMED, parse_id
from tests.scenarios.experiments import kill_of
from tests.scenarios.explained import agrees_with_golden

TOYS = "tests.scenarios.toy_systems"
GOLDEN = Path(__file__).parent / "golden"

KILL = [
    pytest.param("acknowledged-before-written", "reference-log", "ack-before-write", marks=pytest.mark.slow),
    pytest.param("retired-too-early", "reference-log", "retire-before-set", marks=pytest.mark.slow),
    ("doubled-by-recovery", f"{TOYS}:RepeatsOnRecovery", ""),
]


def explained_kill(target: str, mutant: str, tmp_path: Path) -> list[Finding]:
    plan = Plan(target=target, mutant=mutant, budget=100, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.depth_max = 0
        experiment.run()
        findings, notes = experiment.explain()
    assert not notes
    return findings


def test_only_an_acknowledgement(tmp_path: Path) -> None:
    """If a crash breaks the promise once an item is acknowledged, the last change of the folder before it is named."""
    found = explained_kill(f"{TOYS}:PutsAside", "", tmp_path)
    assert "the promise breaks with the acknowledgement of 1, after this step in the workload: aside made" in {
        finding.cause for finding in found
    }


@pytest.mark.parametrize(("name", "target", "mutant"), KILL)
def test_kill(name: str, target: str, mutant: str, tmp_path: Path) -> None:
    """The step that breaks the promise is named, and the place before it, where a crash was safe."""
    findings = explained_kill(target, mutant, tmp_path)
    verdict = (GOLDEN / f"{name}.txt").read_text().partition("\n")[0].removeprefix("verdict: ")
    first = next(each for each in findings if RESUMED not in parse_id(each.example) and each.verdict.value == verdict)
    agrees_with_golden(GOLDEN / f"{name}.txt", first)
    assert first.timeline[-2].kind == "cut"
