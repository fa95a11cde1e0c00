"""A run's verdict in one line, with what was not run: ``safe under kill; power not run: REASON AND REMEDY``.

It also has what an experiment ran without crashing it: ``safe; kill does not cover WHAT``. If a run that nothing disturbed is
broken already, that comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from crashmatrix.reports.result import RunSummary

__all__ = ["headline"]


def headline(summary: RunSummary, shown: Callable[[str], str] = str, *, reasons: bool = False) -> str:
    """Return the line, without a line end.

    Args:
        shown: formats an experiment's name.
        reasons: whether to say why an experiment was not run, and what to do.
    """
    verdict, parts = summary.verdict, summary.experiments
    on = [shown(_with_filesystems(summary, name)) for name, part in parts.items() if part.verdict is verdict]
    said = [f"{verdict} under {' and '.join(on)}" if summary.not_run and on else str(verdict)]
    said += [
        f"{shown(name)}: {part.details['undisturbed']}" for name, part in parts.items() if "undisturbed" in part.details
    ]
    for name, reason in summary.not_run.items():
        said.append(f"{shown(name)} not run{f': {reason}' if reasons else ''}")
    for name, part in parts.items():
        if uncovered := dict.fromkeys(map(str, part.details.get("uncovered", []))):
            said.append(f"{shown(name)} does not cover {'; nor '.join(uncovered)}")
    return "; ".join([*said, *(f"{shown(name)} was required" for name in summary.lacking)])


def _with_filesystems(summary: RunSummary, experiment: str) -> str:
    """Return the experiment's name; with the filesystems, if they stand in for others."""
    instead = any(name.startswith(f"{experiment} on ") for name in summary.not_run)
    names = summary.options.get("filesystems", ()) if instead else ()
    return f"{experiment} on {', '.join(map(str, names))}" if names else experiment
