"""A finding says which call failed and where, what was answered, what was acknowledged after that, and what came back."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.io_error.explain import _as_answered
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_experiment import run

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


@pytest.mark.parametrize(
    ("answer", "said"),
    [(-5, "fails with EIO"), (-28, "fails with ENOSPC"), (7, "is done in part: 7"), (-9999, "fails with 9999")],
)
def test_how_a_call_ended(answer: int, said: str) -> None:
    """An error by its name, where it has one; a short write by its result."""
    assert _as_answered(answer) == said
