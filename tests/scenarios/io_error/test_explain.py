"""A finding says which call failed and where, what was answered, what was acknowledged after that, and what came back."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.io_error.explain import Explainer, _as_answered, cause_of
from crashmatrix.scenarios.io_error.faults import Fault, RequestFault
from crashmatrix.scenarios.io_error.messages import Place
from crashmatrix.scenarios.io_error.runs import FaultyRun, prepare
from crashmatrix.scenarios.io_error.trying import result_of
from crashmatrix.scenarios.judging.checker import Checked
from crashmatrix.scenarios.processes.calls.call_faults import CallFault, Made
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.result import Returned
from tests.scenarios.io_error.test_experiment import SYSTEMS, run

pytestmark = [pytest.mark.skipif(bool(lacking()), reason=lacking()), pytest.mark.experiment]


def test_the_simplest_fault_is_explained(tmp_path: Path) -> None:
    """The simplest of the faults that show it is the example, with its line of source and its steps."""
    campaign = run(tmp_path, "Swallows", budget=60)
    finding = next(finding for finding in campaign.summary.findings if finding.verdict == "loses")
    call, after, acknowledged, then = finding.explanation
    assert "~EIO~once~" in finding.example
    assert (
        "of class write, write of log (" in call and "error_systems.py:" in call and call.endswith("failed with EIO.")
    )
    assert after.startswith("Acknowledged after the fault: ")
    assert "acknowledged" in acknowledged
    assert then.startswith("Then: acknowledged, but gone: ")
    kinds = [event.kind for event in finding.timeline]
    assert kinds[-2:] == ["cut", "recovered"]
    assert any("write log fails" in event.text for event in finding.timeline)
    assert "a failed write of log" in finding.cause


def test_a_call_on_a_recorded_disk(tmp_path: Path) -> None:
    """It is named as well, and how it failed: a short write has no error."""
    campaign = run(tmp_path, "NamedIgnoresShortWrites", budget=120, filesystems=("posix",), filesystems_named=True)
    found = {finding.example: finding for finding in campaign.summary.findings}
    example = next(example for example in found if example.startswith("io-error:posix:on-disk.write"))
    finding = found[example]
    assert "~short~" in example
    assert "of class write, write of log, was done in part." in finding.explanation[0]
    assert finding.cause.startswith("a short write of log, on a recorded disk, and the workload ")


def test_the_cause_is_that_of_the_run_that_is_explained() -> None:
    """Its heading and its text name the same call, also if another one was met when the scenario was found."""
    fault = CallFault("write", 3, "EIO")
    lost = Checked(Verdict.LOSES, "acknowledged, but gone: 2")
    found = result_of(ExperimentOptions(), fault, "reopened", lost, cause="a failed openat of another file")
    with workbench(Plan(target=f"{SYSTEMS}:Swallows")) as (checker, _):
        (finding,) = Explainer(checker, prepare(checker), [found]).findings()
    assert "write of log" in finding.explanation[0]
    assert finding.cause.startswith("a failed write of log (")


@pytest.mark.parametrize(
    ("fault", "place", "cause"),
    [
        (CallFault("fsync", 1, "EIO"), Place(Made("fsync", 1, "msync", ()), ""), "a failed msync, and"),
        (RequestFault("ext4", "on-disk.fsync", 1, "EIO"), Place(Made("", 1, "", ()), "msync"), "a failed msync, on a recorded"),
        (RequestFault("ext4", "on-disk.write", 1, "EIO"), Place(Made("", 1, "", ()), "write of log"), "a failed write of log, "),
    ],
)  # fmt: skip
def test_a_call_without_a_file(fault: Fault, place: Place, cause: str) -> None:
    """It is of nothing: msync and syncfs name no file."""
    with workbench(Plan(target=f"{SYSTEMS}:Log")) as (checker, _):
        assert cause_of(prepare(checker), fault, FaultyRun(Returned(None), fired=place)).startswith(cause)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(-5, "fails with EIO"), (-28, "fails with ENOSPC"), (7, "is done in part: 7"), (-9999, "fails with 9999")],
)
def test_how_a_call_ended(answer: int, said: str) -> None:
    """An error by its name, where it has one; a short write by its result."""
    assert _as_answered(answer) == said
