"""An interrupted attempt is over if it did not come back, though an equal item was promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crashmatrix.scenarios.stateful.settling import events_in, settled
from crashmatrix.scenarios.target.contract import Contract, Violation, contract_named
from crashmatrix.scenarios.target.journal import Event, Item, Promises

A1, A2 = ["a", 1], ["a", 2]


def done(item: Item) -> list[Event]:
    return [Event("attempt", item), Event("ack", item)]


def begun(item: Item) -> list[Event]:
    return [Event("attempt", item)]


@pytest.mark.parametrize(
    ("contract", "events", "items", "stays"),
    [
        ("prefix", [*done(1), *begun(1)], [1], done(1)),
        ("prefix", [*done(1), *begun(1)], [1, 1], [*done(1), *begun(1)]),
        ("prefix", [*begun(1), *done(2), *begun(1)], [1, 2], [*begun(1), *done(2)]),
        ("prefix", begun(1), [], []),
        ("exactly-once", [*done(1), *begun(1)], [1], done(1)),
        ("exactly-once", [*done(1), *begun(1)], [1, 1], [*done(1), *begun(1)]),
        ("latest", [*done(A1), *done(A2), *begun(A1)], [A2], [*done(A1), *done(A2)]),
        ("latest", [*done(A1), *done(A2), *begun(A1)], [A1], [*done(A1), *done(A2), *begun(A1)]),
    ],
)
def test_an_attempt_is_over_unless_it_came_back(
    contract: str, events: list[Event], items: list[Any], stays: list[Event]
) -> None:
    """Equal items are attempts of their own: only those stay that what came back needs."""
    assert settled(contract_named(contract), [], events, items) == stays


def test_what_came_before_counts() -> None:
    """Events are judged after those of the past, and only they are settled."""
    past = [*done(1), *begun(2)]
    assert settled(contract_named("prefix"), past, begun(3), [1, 2, 3]) == begun(3)
    assert settled(contract_named("prefix"), past, begun(3), [1, 2]) == []


def test_recoveries_among_notes_settle() -> None:
    """An attempt that a recovery in between did not return is over; one after it is still open."""
    notes = [b"attempt 1", b"ack 1", b"attempt 1", b"recovered [1]", b"attempt 2", b"ack 2", b"attempt 2"]
    assert events_in(contract_named("prefix"), [], notes) == [*done(1), *done(2), *begun(2)]


def test_a_contract_of_the_users_judges_all_attempts() -> None:
    """It may mean something else by its items."""

    class Anything(Contract):
        def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
            return []

    assert settled(Anything(), [], begun(1), []) == begun(1)
