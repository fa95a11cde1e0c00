"""Attempts as intervals: where each ends, and which precede which."""

from __future__ import annotations

import math

import pytest

from crashmatrix import Promises, UsageError
from crashmatrix.scenarios.target.contracts.history import Budget, operations, requests

TABLE = [
    ("attempt 1|ack 1|attempt 2", [(0, 1), (2, math.inf)]),
    ("attempt 1|fail 1", [(0, 1)]),
    ("attempt 1|attempt 2|ack 2", [(0, 0.5), (1, 2)]),  # one writer goes on: it has given up
    (
        "attempt 1|attempt 2|attempt 3|ack 2",
        [(0, math.inf), (1, 3), (2, math.inf)],
    ),  # it overlaps itself: it is several
    ("attempt:v 1|attempt:w 2|ack:w 2", [(0, math.inf), (1, 2)]),
    ("attempt:v 1|attempt:w 1|ack:v 1", [(0, 2), (1, math.inf)]),  # equal items of two writers
    ("attempt 1|attempt 1|ack 1", [(0, 0.5), (1, 2)]),  # a retry: the later attempt was acknowledged
    ("attempt 1|attempt 1|ack 1|ack 1", [(0, 2), (1, 3)]),  # two clients: any two times that another reading allows
]


@pytest.mark.parametrize(("journal", "intervals"), TABLE)
def test_intervals(journal: str, intervals: list[tuple[float, float]]) -> None:
    """An attempt ends at its own end, or where its writer goes on; the last one may be in flight."""
    events = Promises.parse(journal.replace("|", "\n").encode() + b"\n").events
    assert [(each.start, each.end) for each in operations((), events)] == intervals


def test_what_was_there_at_first_precedes_all() -> None:
    """The items of the beginning are acknowledged, and follow each other."""
    first, second, attempt = operations(["x", "y"], Promises.parse(b"attempt 1\n").events)
    assert first.precedes(second) and second.precedes(attempt) and not attempt.precedes(first)
    assert first.acknowledged and second.acknowledged


def test_tries_of_one_request() -> None:
    """They are one attempt, from the first one's beginning to the first acknowledgement; else to where the last one may end."""
    journal = "attempt 7|fail 7|attempt 8|ack 8|attempt 7|ack 7|attempt 7|ack 7|attempt 9|fail 9|attempt 9|"
    found = requests(operations([6, 8], Promises.parse(journal.replace("|", "\n").encode()).events))
    told = [(each.item, each.start, each.end, each.acknowledged, each.failed) for each in found]
    assert told == [
        (6, -2, -2, True, False),
        (8, -1, -1, True, False),
        (7, 0, 5, True, False),
        (9, 8, math.inf, False, True),
    ]


def test_a_search_has_a_limit() -> None:
    """A budget is spent, and then says how large the search was."""
    budget = Budget(7, steps_max=2)
    budget.spend(2)
    with pytest.raises(UsageError, match="2 steps did not settle whether some order of 7 attempts"):
        budget.spend()
