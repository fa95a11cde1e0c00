"""The target whose compressed rows wait: its script reaches what it is for, and an undisturbed life keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.systems.reference.compressed import CompressedEngine
from crashmatrix.scenarios.systems.reference.switched import COMPRESSED
from crashmatrix.scenarios.target.journal import Journal, Promises
from tests.scenarios.experiments import power_of, run_kill


def test_an_undisturbed_life(tmp_path: Path) -> None:
    """The whole script passes each failpoint of compressed rows, in both sessions; everything acknowledged is there."""
    system, root, journal = CompressedEngine(), tmp_path / "root", tmp_path / "journal"
    root.mkdir()
    initial, seen = tuple(system.prepare(root)), set[str]()
    faults.observe(lambda point, _: seen.add(point.name))
    try:
        system.workload(root, Journal(journal))
    finally:
        faults.observe(None)
    assert {point.name for prefix in COMPRESSED for point in faults.catalogue(prefix)} <= seen
    recovered = system.recover(root)
    promises = Promises.parse(journal.read_bytes(), initial)
    assert not system.contract.check(promises, recovered)
    system.verify(root, promises)
    assert system.contract.check(promises, recovered[:-1])


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed(tmp_path: Path) -> None:
    """Every failpoint of compressed rows is hit, and every scenario is safe."""
    experiment = run_kill("reference:compressed", budget=20, report=tmp_path / "report")
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
    assert experiment.details["failpoints_never_hit"] == []


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_power_cut(tmp_path: Path) -> None:
    """A commit of several generations loses nothing in a power cut, under the weakest filesystem that there may be."""
    plan = Plan(target="reference:compressed", filesystems=("posix",), budget=60, report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.run()
    assert {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}
