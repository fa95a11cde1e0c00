"""The results stand, even if explaining fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ScenarioResult
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.explain import explanation_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.experiment import Explained

TOYS = "tests.scenarios.toy_systems"


class Explains:
    """An experiment that has something to say, or an error."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.details, self.confirmed = error, dict[str, Any](), True

    def run(self) -> None: ...

    def ordered(self) -> list[ScenarioResult]:
        return []

    def explain(self) -> Explained:
        if self.error:
            raise self.error
        return Explained([], ["nothing is broken"])


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (None, "nothing is broken"),
        (KeyError("x"), "what was found could not be explained: KeyError: 'x'"),
        (RuntimeError("no way"), "what was found could not be explained: RuntimeError: no way"),
    ],
)
def test_an_error_becomes_a_note(error: Exception | None, note: str) -> None:
    """A mistake in explaining takes no result away."""
    assert explanation_of(Explains(error)) == ([], [note])


def test_an_interrupt_while_explaining_keeps_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C skips the explanation; what was found is in the report, grouped as it is without one."""

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crashmatrix.scenarios.campaign.campaign.explanation_of", interrupted)
    plan = Plan(target=f"{TOYS}:Buffered", experiments=("kill",), report=tmp_path / "report")
    with pytest.raises(KeyboardInterrupt):
        Campaign(plan).run()
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["verdict"], summary["interrupted"], summary["findings"]) == ("loses", True, [])
    assert (tmp_path / "report" / "results.jsonl").read_text().count('"loses"')
