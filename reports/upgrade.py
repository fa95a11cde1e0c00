"""Reports of older versions, brought into today's form: the only module that knows old names.

| format | what changed from the format before |
|---|---|
| 1 | |
| 2 | `photograph` is called `snapshot`: in `method`, `agreed_with_snapshot`, and a recording's `seconds` |
| | in a recording's `seconds`, `foretell` is called `predict` |
| | an experiment's own fields stand in its `details`; it has `labels` |

Each step brings a document from one format to the next, in place. A step leaves a value of the wrong type alone: the check
that follows names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crashmatrix.reports.result import FORMAT

__all__ = ["upgrade_result", "upgrade_summary"]

_LABELS_1 = {"power": {"point": "recording", "hit": "cut at write", "repeatable": False}}
"""Labels of the experiments of format 1, where they are not the usual ones."""
_COUNTS_1 = ("verdict", "scenarios", "verdicts", "seconds", "scenarios_per_second")
_RENAMED_1 = {"agreed_with_photograph": "agreed_with_snapshot", "photograph": "snapshot", "foretell": "predict"}


def upgrade_summary(summary: dict[str, Any], form: int) -> None:
    """Bring a `summary.json` of an older format to `FORMAT`."""
    for number in range(form, FORMAT):
        _SUMMARY_STEPS[number](summary)


def upgrade_result(line: Any, form: int) -> None:
    """Bring a line of `results.jsonl` of an older format to `FORMAT`."""
    for number in range(form, FORMAT):
        _RESULT_STEPS[number](line)


def _summary_1(summary: dict[str, Any]) -> None:
    experiments = summary.get("experiments")
    if not isinstance(experiments, dict):
        return
    for name, part in experiments.items():
        if isinstance(part, dict):
            own = [key for key in part if key not in _COUNTS_1]
            part["details"] = _renamed({key: part.pop(key) for key in own})
            part["labels"] = _LABELS_1.get(name, {})
            for recording in _objects(part["details"].get("recordings")):
                if isinstance(recording.get("seconds"), dict):
                    recording["seconds"] = _renamed(recording["seconds"])


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {_RENAMED_1.get(name, name): value for name, value in fields.items()}


def _result_1(line: Any) -> None:
    if isinstance(line, dict) and line.get("method") == "photograph":
        line["method"] = "snapshot"


_SUMMARY_STEPS: dict[int, Callable[[dict[str, Any]], None]] = {1: _summary_1}
_RESULT_STEPS: dict[int, Callable[[Any], None]] = {1: _result_1}
"""By the format that a step starts from."""
