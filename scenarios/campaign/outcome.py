"""The outcome of a run, for programs and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crashmatrix.reports import Finding, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.findings import finding_id, finding_ids, group
from crashmatrix.reports.headline import headline

__all__ = ["Outcome"]

_SHOWN_MAX = 3


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run. ``print`` it for the verdict, the causes and the commands that reproduce them.

    Attributes:
        system: the name of the system's class, or of the target.
        promise: its contract.
        summary, results: everything, as in the report directory ``report``.
    """

    system: str
    promise: str
    summary: RunSummary
    results: list[ScenarioResult]
    report: Path

    @property
    def verdict(self) -> Verdict:
        """The worst verdict: equal to ``"safe"`` if every promise was kept in every crash."""
        return self.summary.verdict

    @property
    def findings(self) -> list[Finding]:
        """Each kind of scenario that is not safe, worst first, with its cause where it is known."""
        return [found.finding for found in group(self.results, self.summary.findings)]

    @property
    def not_run(self) -> dict[str, str]:
        """The experiments that this machine could not run, with the reason and the remedy."""
        return self.summary.not_run

    def assert_safe(self) -> None:
        """Raise AssertionError, with the text of ``str(outcome)``, unless the verdict is safe."""
        __tracebackhide__ = True
        if self.verdict is not Verdict.SAFE:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        """The verdict; then, if it is not safe, the worst scenarios with cause and replay command."""
        said = headline(self.summary, reasons=True)
        if self.verdict is Verdict.SAFE:
            return f"{self.system} ({self.promise}): {said}; {_crashes(len(self.results))}; report: {self.report}"
        wrong = [result for result in self.results if result.verdict is not Verdict.SAFE]
        head = f"{self.system} breaks its promise" if self.verdict.broken else f"{self.system}: nothing can be said"
        lines = [f"{head} ({self.promise}): {headline(self.summary)} in {len(wrong)} of {_crashes(len(self.results))}"]
        causes = {finding.id: finding.cause for finding in self.summary.findings if finding.cause}
        ids = finding_ids(self.summary.findings)
        for result in _first_of_each_kind(wrong)[:_SHOWN_MAX]:
            name = finding_id(result)
            cause = causes.get(ids.get(name, name), "")
            lines += [
                f"  {result.verdict}: {result.explanation}",
                *([f"    why: {cause}"] if cause else []),
                f"    crash: {result.experiment} at {result.id.partition(':')[2]}",
                f"    again: {result.replay}",
            ]
        lines += [f"  not run: {name}: {reason}" for name, reason in self.not_run.items()]
        return "\n".join([*lines, f"  all of them: crashmatrix report {self.report}"])


def _crashes(number: int) -> str:
    return f"{number:,} crash{'' if number == 1 else 'es'}"


def _first_of_each_kind(wrong: list[ScenarioResult]) -> list[ScenarioResult]:
    """Return a scenario for each experiment and verdict, broken promises first, the fewest crashes first."""
    ordered = sorted(wrong, key=lambda result: (not result.verdict.broken, result.depth))
    first: dict[tuple[str, str], ScenarioResult] = {}
    for result in ordered:
        first.setdefault((result.experiment, result.verdict), result)
    return list(first.values())
