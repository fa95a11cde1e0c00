"""The results stand, even if explaining fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Event, Finding, ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.explain import explanation_of
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.experiment import Explained

TOYS = "tests.scenarios.toy_systems"


class Explains:
    """An experiment that has something to say, or an error."""

    def __init__(self, error: Exception | None, findings: Sequence[Finding] = ()) -> None:
        self.findings = list(findings)
        self.error, self.details, self.confirmed = error, dict[str, Any](), True

    def run(self) -> None: ...

    def ordered(self) -> list[ScenarioResult]:
        return []

    def explain(self) -> Explained:
        if self.error:
            raise self.error
        return Explained(self.findings, ["nothing is broken"])


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


KILLED = Finding(
    id="kill-loses-1", experiment="kill", verdict=Verdict.LOSES, title="it loses", count=2, example="kill:x@1",
    cause="0 was acknowledged before anything of it was handed to the kernel",
)  # fmt: skip
CUT = Finding(
    id="power-loses-1", experiment="power", verdict=Verdict.LOSES, title="it loses", count=1, example="power:x:1-none",
    explanation=("Then: gone.",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "killed", "refers"),
    [
        (CUT, KILLED, True),
        (replace(CUT, cause="not confirmed: no fsync of log", tested=False), KILLED, True),
        (replace(CUT, cause="no fsync of log", tested=True), KILLED, False),
        (replace(CUT, cause="no fsync of log"), KILLED, False),
        (replace(CUT, id="power-loses-2"), KILLED, False),
        (replace(CUT, id="io-error-loses-1", experiment="io-error"), KILLED, True),
        (KILLED, KILLED, False),
        (CUT, replace(KILLED, cause=""), False),
    ],
)
def test_as_under_another_experiment(cut: Finding, killed: Finding, refers: bool) -> None:
    """A finding without a certain cause refers to one of another experiment that breaks the promise in the same words."""
    ((found,), _) = explanation_of(Explains(None, [cut]), [replace(killed, id="kill-loses-3"), killed])
    if not refers:
        assert found == cut
        return
    assert found.cause == f"perhaps as under kill: {killed.cause}"
    assert found.explanation[-1].startswith("2 scenarios of kill broke the same promise in the same words.")


def test_random_names_are_one_name() -> None:
    """No run has a random name twice, so findings call it by what stays; the timeline shows the names of its run."""
    event = Event(at=1, kind="write", text="the store's folder: db.aBc1eF becomes db")
    other = Event(at=2, kind="write", text="the store's folder: db.abcdef becomes db")
    lost = "the store's folder: db.abcdef becomes db"
    finding = Finding(
        id="power-loses-1", experiment="power", verdict=Verdict.LOSES, title="it loses", count=1, example="power:x:1-none",
        cause=f"no fsync after '{lost}'", explanation=(lost,), lost=(lost,), timeline=(event, other),
    )  # fmt: skip
    ((one,), _) = explanation_of(Explains(None, [finding]))
    words = "the store's folder: db.* becomes db"
    assert (one.cause, one.explanation, one.lost) == (f"no fsync after '{words}'", (words,), (words,))
    assert one.timeline == (event, other)


def test_an_interrupt_while_explaining_keeps_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C skips the explanation; what was found is in the report, grouped as it is without one."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crashmatrix.scenarios.campaign.campaign.explanation_of", interrupted)
    plan = Plan(target=f"{TOYS}:Buffered", experiments=("kill",), report=tmp_path / "report")
    with pytest.raises(KeyboardInterrupt):
        Campaign(plan).run()
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert (summary["verdict"], summary["interrupted"], summary["findings"]) == ("loses", True, [])
    assert (tmp_path / "report" / "results.jsonl").read_text().count('"loses"')
