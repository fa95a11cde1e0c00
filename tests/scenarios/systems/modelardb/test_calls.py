"""The contract of overlapping calls: any order that respects which were over before others began, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.scenarios.systems.modelardb.calls import Calls
from crashmatrix.scenarios.target.journal import Event, Promises

TABLE: list[Any] = ["table"]


def promises(text: str) -> Promises:
    """Read ``+put 1`` as an attempt, ``put 1`` as attempt and acknowledgement, ``-put 1`` as the acknowledgement alone."""
    events = []
    for word in text.split(", "):
        kind, number = word.lstrip("+-").split()
        item = [kind, int(number)]
        if not word.startswith("-"):
            events.append(Event("attempt", item))
        if not word.startswith("+"):
            events.append(Event("ack", item))
    return Promises((), tuple(events))


CASES: list[tuple[str, list[list[Any]], str]] = [
    ("create 0, put 1, put 2", [TABLE, ["put", 1], ["put", 2]], ""),
    ("create 0, put 1, put 2", [TABLE, ["put", 2]], "loses"),
    ("create 0, put 1", [TABLE, ["put", 1], ["put", 1]], "duplicate"),
    ("create 0, put 1, +put 2", [TABLE, ["put", 1]], ""),
    ("create 0, put 1, +put 2", [TABLE, ["put", 1], ["put", 2]], ""),
    ("create 0, put 1, truncate 2", [TABLE], ""),
    ("create 0, put 1, truncate 2", [TABLE, ["put", 1]], "duplicate"),
    ("create 0, put 1, +truncate 2, put 3, -truncate 2", [TABLE, ["put", 3]], ""),
    ("create 0, put 1, +truncate 2, put 3, -truncate 2", [TABLE], ""),
    ("create 0, put 1, +truncate 2, put 3, -truncate 2, seen 3", [TABLE], "loses"),
    ("create 0, put 1, +transfer 2, put 3, -transfer 2", [TABLE, ["put", 3], ["sent", 1]], ""),
    ("create 0, put 1, +transfer 2, put 3, -transfer 2", [TABLE, ["sent", 1]], "loses"),
    ("create 0, put 1, transfer 2", [TABLE, ["put", 1], ["sent", 1]], "duplicate"),
    ("create 0, put 1, +drop 2", [TABLE], "loses"),
    ("create 0, put 1, +drop 2", [], ""),
    ("create 0, put 1, drop 2, create 3", [TABLE, ["put", 1]], "duplicate"),
]


@pytest.mark.parametrize(("text", "recovered", "verdict"), CASES)
def test_verdicts(text: str, recovered: list[list[Any]], verdict: str) -> None:
    """Each outcome is allowed, or breaks the promise that it should."""
    found = [violation.verdict.value for violation in Calls().judge(promises(text), recovered)]
    assert found == ([verdict] if verdict else [])
