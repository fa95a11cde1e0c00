"""Evidence: the result type, the report directory, and renderers that are pure functions of what is stored there."""

from reports.result import ExperimentSummary, RunSummary, ScenarioResult, Verdict, worst
from reports.store import ReportError, ReportWriter, read_results, read_summary

__all__ = [
    "ExperimentSummary",
    "ReportError",
    "ReportWriter",
    "RunSummary",
    "ScenarioResult",
    "Verdict",
    "read_results",
    "read_summary",
    "worst",
]
