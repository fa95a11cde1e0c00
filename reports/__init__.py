"""Evidence: the result type, the report directory, and renderers that are pure functions of the stored results."""

from crashmatrix.reports.result import Event, ExperimentSummary, Finding, Labels, RunSummary, ScenarioResult
from crashmatrix.reports.store import ReportError, ReportWriter, read_report, read_results, read_summary, render
from crashmatrix.reports.verdict import Verdict, worst

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
