"""From broken promises of any experiment to findings. The results stand even if explaining fails.

An experiment may not know why, for a workload whose threads take another order each time. If another one broke the same promise
in the same words, and knows why, the finding refers to that.

Names that libraries draw at random are one name in all findings (`reports.temporary_names`), as no run has them twice. A timeline
keeps the names of its run, since it may have several such files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crashmatrix.reports import Finding
from crashmatrix.reports.temporary_names import TemporaryNames
from crashmatrix.scenarios.experiment import Experiment, Explained
from crashmatrix.scenarios.judging.words import NOT_CONFIRMED

__all__ = ["explanation_of"]


def explanation_of(experiment: Experiment, known: Sequence[Finding] = ()) -> Explained:
    """Explain what an experiment found. An error while explaining becomes a note.

    Args:
        known: findings of other experiments in the same run.
    """
    try:
        explained = experiment.explain()
        return explained._replace(findings=[_as_known(each, known) for each in _with_one_name(explained.findings)])
    except Exception as error:  # An explanation is not worth losing a result.
        return Explained([], [f"what was found could not be explained: {type(error).__name__}: {error}"])


def _with_one_name(findings: Sequence[Finding]) -> list[Finding]:
    names = TemporaryNames([event.text for finding in findings for event in finding.timeline])
    return [
        replace(
            finding,
            cause=names.as_one(finding.cause),
            explanation=tuple(map(names.as_one, finding.explanation)),
            lost=tuple(map(names.as_one, finding.lost)),
            suggestion=names.as_one(finding.suggestion),
        )
        for finding in findings
    ]


def _as_known(finding: Finding, known: Sequence[Finding]) -> Finding:
    """Return a finding that refers to one of another experiment in the same words, if only that has a cause."""
    words = finding.id.removeprefix(finding.experiment)
    other = next((each for each in known if each.cause and each.id == f"{each.experiment}{words}"), None)
    doubtful = not finding.cause or finding.cause.startswith(NOT_CONFIRMED)
    if not doubtful or finding.tested or other is None or other.experiment == finding.experiment:
        return finding
    scenarios = f"{other.count:,} scenario{'s' if other.count > 1 else ''} of {other.experiment}"
    said = (
        f"{scenarios} broke the same promise in the same words. If this stays once that is fixed, it has another cause."
    )
    return replace(
        finding,
        cause=f"perhaps as under {other.experiment}: {other.cause}",
        explanation=(*finding.explanation, said),
    )
