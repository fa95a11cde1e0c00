"""The verdict in one line: what was run, what was not, and why."""

from typing import Any

import pytest

from crashmatrix.reports import ExperimentSummary, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.headline import headline
from tests.reports.samples import result, summary

BAD = result(verdict=Verdict.LOSES)
REASON = {"power": "no /dev/fuse; load the driver"}


def run(*experiments: tuple[str, ScenarioResult], **other: Any) -> RunSummary:
    made = summary([], **other)
    for name, one in experiments:
        made.experiments[name] = ExperimentSummary.of([one], 1.0, {})
    return made


UNCOVERED = run(("kill", result()))
UNCOVERED.experiments["kill"].details["uncovered"] = ["stores", "rings", "stores"]

BROKEN = run(("kill", BAD), ("power", result()))
BROKEN.experiments["kill"].details["undisturbed"] = "an undisturbed run is broken"


@pytest.mark.parametrize(
    ("summary", "short", "full"),
    [
        (run(), "unknown", "unknown"),
        (run(("kill", result())), "safe", "safe"),
        (run(("kill", result()), ("power", BAD)), "loses", "loses"),
        (run(("kill", result()), interrupted=True), "unknown", "unknown"),
        (
            run(("kill", result()), not_run=REASON),
            "safe under kill; power not run",
            "safe under kill; power not run: no /dev/fuse; load the driver",
        ),
        (
            run(("kill", result()), ("scan", result()), not_run=REASON),
            "safe under kill and scan; power not run",
            "safe under kill and scan; power not run: no /dev/fuse; load the driver",
        ),
        (
            run(("kill", BAD), ("scan", result()), not_run=REASON),
            "loses under kill; power not run",
            "loses under kill; power not run: no /dev/fuse; load the driver",
        ),
        (
            run(("kill", result()), not_run=REASON, required=["kill", "power"]),
            "unknown; power not run; power was required",
            "unknown; power not run: no /dev/fuse; load the driver; power was required",
        ),
        (BROKEN, "loses; kill: an undisturbed run is broken", "loses; kill: an undisturbed run is broken"),
        (UNCOVERED, "safe; kill does not cover stores; nor rings", "safe; kill does not cover stores; nor rings"),
        (
            run(("power", result()), not_run={"power on ext4": "no root"}, options={"filesystems": ["posix"]}),
            "safe under power on posix; power on ext4 not run",
            "safe under power on posix; power on ext4 not run: no root",
        ),
    ],
)
def test_headline(summary: RunSummary, short: str, full: str) -> None:
    """A verdict on a part says which part; with reasons, it says what to do."""
    assert headline(summary) == short
    assert headline(summary, reasons=True) == full


def test_names_are_shown_as_wanted() -> None:
    """A format wraps experiments' names in its own markup; nothing else is."""
    text = headline(run(("kill", result()), not_run=REASON), lambda name: f"<{name}>")
    assert text == "safe under <kill>; <power> not run"
