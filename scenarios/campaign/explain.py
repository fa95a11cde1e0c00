"""From broken promises of any experiment to findings. The results stand even if explaining fails.

Names that libraries draw at random are one name in all findings (`reports.temporary_names`), as no run has them twice. A timeline
keeps the names of its run, since it may have several such files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crashmatrix.reports import Finding
from crashmatrix.reports.temporary_names import TemporaryNames
from crashmatrix.scenarios.experiment import Experiment, Explained

__all__ = ["explanation_of"]


def explanation_of(experiment: Experiment) -> Explained:
    """Explain what an experiment found. An error while explaining becomes a note."""
    try:
        explained = experiment.explain()
        return explained._replace(findings=_with_one_name(explained.findings))
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
