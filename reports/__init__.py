"""Evidence: the result type, the report directory, and renderers that are pure functions of the stored results."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crashmatrix.reports.verdict import Verdict, worst

if TYPE_CHECKING:
    from crashmatrix.reports.result import Event, ExperimentSummary, Finding, Labels, RunSummary, ScenarioResult
    from crashmatrix.reports.store import ReportError, ReportWriter, read_report, read_results, read_summary, render

__all__ = [
    "Event",
    "ExperimentSummary",
    "Finding",
    "Labels",
    "ReportError",
    "ReportWriter",
    "RunSummary",
    "ScenarioResult",
    "Verdict",
    "read_report",
    "read_results",
    "read_summary",
    "render",
    "worst",
]

_RESULT = ("Event", "ExperimentSummary", "Finding", "Labels", "RunSummary", "ScenarioResult")


def __getattr__(name: str) -> Any:
    """Import a name when it is used: every job needs verdicts, and a fork of a process with the renderers takes longer."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'result' if name in _RESULT else 'store'}"), name)
