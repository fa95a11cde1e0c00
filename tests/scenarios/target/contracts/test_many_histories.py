"""Thousands of random histories, without the help of Hypothesis: each contract agrees with the brute-force oracle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import pytest

from crashmatrix import Item
from crashmatrix.scenarios.target.contract import contract_named, judge_safely
from tests.scenarios.target.contracts import test_latest, test_transactions
from tests.scenarios.target.contracts.oracle import Did, History, Status, key_of

HISTORIES = 1500
ENDS: tuple[Status, ...] = ("ack", "ack", "ack", "fail", "open")


def drawn(random: Random, item: Callable[[], Item]) -> History:
    """Return what one to three writers did; each goes on once its attempt has ended, or was given up."""
    history, busy, given_up = History(), dict[str, Did](), dict[str, Did]()
    writers = random.choice(["a", "ab", "abc"])
    left = random.randint(0, 5)
    while left or (busy and random.random() < 0.9):
        writer = random.choice(writers)
        if did := busy.pop(writer, None):
            did.status = random.choice(ENDS)
            if did.status == "open":
                given_up[writer] = did
                continue
            did.end = len(history.lines)
            history.lines.append(f"{did.status}:{writer} {key_of(did.item)}")
        elif left:
            left -= 1
            if writer in given_up:
                given_up.pop(writer).end = len(history.lines) - 0.5
            busy[writer] = Did(item(), "open", len(history.lines), writer=writer)
            history.attempts.append(busy[writer])
            history.lines.append(f"attempt:{writer} {key_of(busy[writer].item)}")
    return history


def items_of(order: Iterable[Did]) -> list[Item]:
    return [each.item for each in order]


def logs(history: History) -> set[str]:
    """Return every log that is allowed: the beginning of an order, with each item that was acknowledged to each writer."""
    found = set()
    for order in history.orders(optional=("fail",)):
        owed = Counter((each.writer, each.item) for each in order if each.status == "ack")
        for length in range(len(order) + 1):
            if not owed - Counter((each.writer, each.item) for each in order[:length]):
                found.add(key_of(items_of(order[:length])))
    return found


def as_map(text: Callable[[tuple[Item, ...]], str]) -> Callable[[History], set[str]]:
    return lambda history: {text(tuple(items_of(order))) for order in history.orders()}


def write(random: Random) -> Item:
    return [random.choice("kl"), random.randint(0, 1)] if random.random() < 0.75 else [random.choice("kl")]


def pairs(random: Random) -> Item:
    return [[key, random.randint(0, 1)] for key in "kl" if random.random() < 0.6]


SHAPES: dict[str, tuple[Callable[[Random], Item], Callable[[Random], Item], Callable[[History], set[str]]]] = {
    "latest": (write, pairs, as_map(test_latest.outcome)),
    "transactions": (
        lambda random: [write(random) for _ in range(random.randint(1, 3))],
        pairs,
        as_map(test_transactions.outcome),
    ),
    "prefix": (
        lambda random: random.randint(0, 3),
        lambda random: [random.randint(0, 3) for _ in range(random.randint(0, 4))],
        logs,
    ),
    "counter": (
        lambda random: random.randint(-3, 3),
        lambda random: [random.randint(-6, 6)],
        lambda history: {key_of([sum(items_of(order))]) for order in history.orders()},
    ),
    "exactly-once": (
        lambda random: random.randint(0, 2),
        lambda random: sorted(random.randint(0, 2) for _ in range(random.randint(0, 4))),
        lambda history: {key_of(sorted(items_of(order))) for order in history.orders()},
    ),
}
"""Each contract: an item to attempt, a result to judge, and every result that some order of the attempts explains."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_agrees_with_brute_force(name: str) -> None:
    """A result is accepted exactly if some order of the attempts explains it."""
    random, contract = Random(name), contract_named(name)
    item, result, explained = SHAPES[name]
    seen = Counter[bool]()
    for _ in range(HISTORIES):
        history = drawn(random, lambda: item(random))
        reachable = explained(history)
        for text in [*sorted(reachable)[:3], *(key_of(result(random)) for _ in range(4))]:
            verdict = judge_safely(contract, history.promises, json.loads(text))
            assert (verdict is None) == (text in reachable), (history.lines, text, verdict)
            seen[verdict is None] += 1
    assert min(seen[True], seen[False]) > HISTORIES / 2
