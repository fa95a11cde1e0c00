"""Checks of long journals end soon, and with a verdict: a history without equal items needs no search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crashmatrix import Item, Promises
from crashmatrix.scenarios.target.contract import contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Event

ATTEMPTS = 600
"""With the square of it, a check is soon over; with its cube, or a small budget for its square, it is not."""

EACH = {"name": "within", "absolute": 2.5, "of": "exactly-once"}
LATEST = {"name": "within", "absolute": 0.1}
QUEUE = {"name": "exactly-once", "queue": True}

SHAPES: list[tuple[Any, Callable[[int], Item], Callable[[int], list[Item]]]] = [
    ("exactly-once", lambda at: at, lambda at: [at]),
    ("prefix", lambda at: at, lambda at: [at]),
    ("latest", lambda at: [at, 1], lambda at: [[at, 1]]),
    ("transactions", lambda at: [["last", at], [at, 1]], lambda at: [["last", at]] * (at == ATTEMPTS - 1) + [[at, 1]]),
    ("counter", lambda at: [at, 1], lambda at: [[at, 1]]),
    (LATEST, lambda at: [at, at], lambda at: [[at, at + 0.05]]),
    (EACH, lambda at: ["sensor", at], lambda at: [["sensor", at + 1.4]]),
    (QUEUE, lambda at: ["put", at], lambda at: [at]),
]  # fmt: skip
"""Contracts, each with the item of an attempt, and what it leaves."""


def journal(item: Callable[[int], Item], writers: int) -> Promises:
    """Return a journal of writers that overlap: each attempts its next item before the others' end."""
    events = []
    for first in range(0, ATTEMPTS, writers):
        items = [(f"w{at - first}" if writers > 1 else "", item(at)) for at in range(first, first + writers)]
        events += [Event(kind, each, name) for kind in ("attempt", "ack") for name, each in items]
    return Promises((), tuple(events))


@pytest.mark.parametrize("writers", [1, 4])
@pytest.mark.parametrize(
    ("contract", "item", "left"), SHAPES, ids=lambda value: str(value)[:60] if callable(value) is False else ""
)
def test_a_long_journal(
    contract: Any, item: Callable[[int], Item], left: Callable[[int], list[Item]], writers: int
) -> None:
    """A long journal is judged like a short one: everything keeps the promise, everything but the first item does not."""
    promises, named = journal(item, writers), contract_named(contract)
    assert judge_safely(named, promises, [each for at in range(ATTEMPTS) for each in left(at)]) is None
    broken = judge_safely(named, promises, [each for at in range(1, ATTEMPTS) for each in left(at)])
    assert broken is not None and broken.verdict in ("loses", "hole"), broken


@pytest.mark.slow
def test_a_matching_that_is_too_large_says_so() -> None:
    """Thousands of values under one key, most of them gone: the check gives up, and says after how much."""
    items = [["sensor", 10 * at] for at in range(1800)]
    promises = Promises((), tuple(Event("attempt", item) for item in items))
    verdict = judge_safely(contract_named(EACH), promises, items[900:])
    assert verdict is not None and "too large: 2,000,000 steps" in verdict.explanation
    assert "1800 attempts" in verdict.explanation and "under one key" in verdict.explanation
