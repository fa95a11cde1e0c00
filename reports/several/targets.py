"""The verdicts of several targets, run one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from crashmatrix.reports.findings import group
from crashmatrix.reports.headline import headline
from crashmatrix.reports.lock import LOCK
from crashmatrix.reports.result import Count, RunSummary, ScenarioResult
from crashmatrix.reports.verdict import Verdict, worst

__all__ = ["PAGES", "TARGETS", "TargetRun", "Targets"]

TARGETS = "targets.json"
PAGES = ("index.html", "summary.md")
_OTHERS = re.compile(r"[^A-Za-z0-9._-]+")


class TargetRun(msgspec.Struct, kw_only=True):
    """A target's line.

    Attributes:
        target: its name.
        report: its folder's name.
        headline: verdict, gaps and remedies in one line; empty if it was not run yet.
        verdict, scenarios, findings, seconds: those of its run.
    """

    target: str
    report: str
    headline: str = ""
    verdict: Verdict = Verdict.UNKNOWN
    scenarios: Count = 0
    findings: Count = 0
    seconds: float = 0.0

    def ran(self, summary: RunSummary, results: list[ScenarioResult], why: str = "") -> None:
        """Take over a run; ``why`` it could not begin, or not be finished."""
        if not results:
            self.headline = f"not run: {why}" if why else ""
            return
        why = why or ("interrupted" if summary.interrupted else "")
        self.headline = "; ".join(filter(None, [headline(summary, reasons=True), why]))
        self.verdict, self.scenarios = summary.verdict, summary.scenarios
        self.findings, self.seconds = len(group(results, summary.findings)), summary.seconds


class Targets(msgspec.Struct, kw_only=True):
    """The targets of a run, in their order."""

    runs: list[TargetRun]

    @classmethod
    def named(cls, names: Iterable[str]) -> Targets:
        """Return targets that were not run yet, each with a folder of its own."""
        runs: list[TargetRun] = []
        taken = {TARGETS, LOCK, *PAGES}
        for name in names:
            plain = (_OTHERS.sub("_", name).strip("._")[-100:]) or "target"
            folder = next(
                free
                for number in range(len(taken) + 1)
                if (free := f"{plain}_{number}" if number else plain) not in taken
            )
            taken.add(folder)
            runs.append(TargetRun(target=name, report=folder))
        return cls(runs=runs)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; a target that was not run is unknown."""
        return worst(run.verdict for run in self.runs)

    @property
    def headline(self) -> str:
        """Verdicts and how many targets have each, the worst first: ``loses: 1 of 9 targets, safe: 8``."""
        present = sorted({run.verdict for run in self.runs}, key=list(Verdict).index, reverse=True)
        counts = [f"{verdict}: {sum(run.verdict is verdict for run in self.runs)}" for verdict in present]
        return ", ".join([f"{counts[0]} of {len(self.runs)} targets", *counts[1:]])
