"""Thousands of random histories, without the help of Hypothesis: each contract agrees with the brute-force oracle."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest

from crashmatrix import Item
from crashmatrix.scenarios.target.contract import contract_named, judge_safely
from tests.scenarios.target.contracts.oracle import Did, History, Status, key_of, logs, queued, tally

ENDS: tuple[Status, ...] = ("ack", "ack", "ack", "fail", "open")
BOUND = 0.5

Fits = Callable[[list[Any], list[Any]], bool]


@dataclass(frozen=True)
class Shape:
    """How histories of a contract are drawn, and where an order of attempts leads."""

    item: Callable[[Random], Item]
    """An item to attempt."""
    result: Callable[[Random], list[Item]]
    """Items that come back, possible or not."""
    outcomes: Callable[[History], Iterator[list[Item]]]
    """The items left by each order that the journal allows."""
    first: Callable[[Random], tuple[Item, Item]]
    """Something there at first: as recovery returns it, and as an attempt would store it."""
    fits: Fits = lambda outcome, came: key_of(sorted(outcome, key=key_of)) == key_of(sorted(came, key=key_of))
    """Whether what came back is this outcome, as far as the contract cares."""


def drawn(random: Random, shape: Shape) -> History:
    """Return what one to three writers did; each goes on once its attempt has ended, or was given up."""
    history, busy, given_up = History(), dict[str, Did](), dict[str, Did]()
    if random.random() < 0.3:
        initial, stored = shape.first(random)
        history.initial, history.attempts = [initial], [Did(stored, "ack", -1, -1)]
    writers, left = random.choice(["a", "ab", "abc"]), random.randint(0, 5 - len(history.attempts))
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
            busy[writer] = Did(shape.item(random), "open", len(history.lines), writer=writer)
            history.attempts.append(busy[writer])
            history.lines.append(f"attempt:{writer} {key_of(busy[writer].item)}")
    return history


def left_by(leaves: Callable[[list[Item]], list[Item]]) -> Callable[[History], Iterator[list[Item]]]:
    """Return what every order leaves of its items."""
    return lambda history: (leaves([each.item for each in order]) for order in history.orders())


def maps(writes: Callable[[Item], list[Item]]) -> Callable[[History], Iterator[list[Item]]]:
    """Return the map that every order leads to; each item is some writes."""

    def state(items: Iterable[Item]) -> list[Item]:
        there: dict[str, Item] = {}
        for write in itertools.chain(*map(writes, items)):
            there.pop(write[0], None) if len(write) == 1 else there.update([write])
        return sorted(map(list, there.items()))

    return left_by(state)


def totals(items: list[Item]) -> list[Item]:
    """Return each counter that is not 0."""
    sums = Counter[str]()
    for name, amount in items:
        sums[name] += amount
    return [[name, total] for name, total in sorted(sums.items()) if total]


def counted(repeats: bool = False, lossy: bool = False) -> Fits:
    """Compare how often each item is there."""

    def fits(outcome: list[Item], came: list[Item]) -> bool:
        owed, found = tally(outcome), tally(came)
        more = not (found.keys() - owed.keys()) if repeats else not (found - owed)
        return more and (lossy or not (owed - found))

    return fits


def near(outcome: list[Item], came: list[Item]) -> bool:
    """Pair the values in some way so that each two are near."""
    return len(outcome) == len(came) and any(
        all(one[0] == other[0] and is_near(one[1], other[1]) for one, other in zip(outcome, order, strict=True))
        for order in itertools.permutations(came)
    )


def is_near(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return all(abs(each - found) <= BOUND for each, found in zip(one, other, strict=True))
    return bool(abs(one - other) <= BOUND)


def tables(outcome: list[Item], came: list[Item]) -> bool:
    """Compare the log in its order, the map in any."""
    (log, state), (found_log, found_state) = (
        ([item for name, item in items if name == "log"], [item for name, item in items if name == "map"])
        for items in (outcome, came)
    )
    return log == found_log and sorted(state) == sorted(found_state)


def nulls(outcome: list[Item], came: list[Item]) -> bool:
    """A null that was stored came back, or its key did not."""
    keys = {key for key, _ in came}
    shown = [pair for pair in outcome if pair[1] is not None or pair[0] in keys]
    return sorted(map(key_of, shown)) == sorted(map(key_of, came))


def by_table(history: History) -> Iterator[list[Item]]:
    """Return what two tables hold: a log and a map, in this order."""
    for log, state in itertools.product(
        map(list, {tuple(each) for each in logs(of_table(history, "log"))}),
        maps(lambda write: [write])(of_table(history, "map")),
    ):
        yield [["log", item] for item in log] + [["map", pair] for pair in state]


def of_table(history: History, name: str) -> History:
    return History([Did(each.item[1], each.status, each.start, each.end, each.writer)
                    for each in history.attempts if each.item[0] == name])  # fmt: skip


def write(random: Random) -> Item:
    values = (random.randint(0, 1), None)[random.random() < 0.1]
    return [random.choice("kl"), values] if random.random() < 0.75 else [random.choice("kl")]


def solid(random: Random) -> Item:
    return [random.choice("kl"), random.randint(0, 1)] if random.random() < 0.75 else [random.choice("kl")]


def pairs(random: Random, values: tuple[Any, ...] = (0, 1)) -> list[Item]:
    return [[key, random.choice(values)] for key in "kl" if random.random() < 0.6]


def some(random: Random, values: int = 2, length: int = 4) -> list[Item]:
    return [random.randint(0, values) for _ in range(random.randint(0, length))]


def same(draw: Callable[[Random], Item]) -> Callable[[Random], tuple[Item, Item]]:
    return lambda random: (item := draw(random), item)


def number(random: Random) -> Item:
    return random.randint(0, 2)


def entry(random: Random) -> Item:
    return random.randint(0, 3)


def reading(random: Random) -> Item:
    return [random.choice("kl"), random.randint(0, 3)]


def change(random: Random) -> Item:
    return reading(random) if random.random() < 0.8 else [random.choice("kl")]


def place(random: Random) -> Item:
    return ["k", [random.randint(0, 2), random.randint(0, 1)]]


def places(random: Random) -> list[Item]:
    return [["k", [random.randint(0, 4) / 2, random.randint(0, 2) / 2]] for _ in range(random.randint(0, 4))]


def amount(random: Random) -> Item:
    return [random.choice("kl"), random.randint(-3, 3)]


def job(random: Random) -> Item:
    return [random.choice(["put", "put", "done"]), random.randint(0, 1)]


def row(random: Random) -> Item:
    return ["log", random.randint(0, 1)] if random.random() < 0.5 else ["map", solid(random)]


def table(random: Random) -> list[Item]:
    return [["log", item] for item in some(random, 1, 2)] + [["map", pair] for pair in pairs(random)]


def stored(repeats: bool = False, lossy: bool = False) -> Shape:
    return Shape(number, some, left_by(list), same(number), counted(repeats, lossy))


def queue(repeats: bool = False, lossy: bool = False) -> Shape:
    return Shape(
        job,
        lambda random: some(random, 1, 3),
        partial(queued, repeats=repeats),
        lambda random: (item := random.randint(0, 1), ["put", item]),
        counted(repeats, lossy),
    )


SHAPES: list[tuple[Any, Shape]] = [
    ("exactly-once", stored()),
    ("at-least-once", stored(repeats=True)),
    ("at-most-once", stored(lossy=True)),
    ({"name": "exactly-once", "queue": True}, queue()),
    ({"name": "at-least-once", "queue": True}, queue(repeats=True)),
    ({"name": "at-most-once", "queue": True}, queue(lossy=True)),
    ("prefix", Shape(entry, lambda random: some(random, 3), logs, same(entry), lambda outcome, came: outcome == came)),
    (
        "latest",
        Shape(
            write,
            lambda random: pairs(random, (0, 1, None)),
            maps(lambda item: [item]),
            same(lambda random: [random.choice("kl"), random.randint(0, 1)]),
            nulls,
        ),
    ),
    (
        "transactions",
        Shape(
            lambda random: [solid(random) for _ in range(random.randint(1, 3))],
            pairs,
            maps(list),
            lambda random: (pair := [random.choice("kl"), random.randint(0, 1)], [pair]),
        ),
    ),
    ("counter", Shape(amount, lambda random: pairs(random, (-3, -1, 1, 2)), left_by(totals), same(amount))),
    ({"name": "within", "absolute": BOUND}, Shape(
        change, lambda random: pairs(random, (0, 0.5, 1, 1.5, 2.5)), maps(lambda item: [item]), same(reading), near
    )),
    (
        {"name": "within", "absolute": BOUND, "of": "exactly-once"},
        Shape(place, places, left_by(list), same(place), near),
    ),
    ({"name": "tables", "tables": {"log": "prefix", "map": "latest"}}, Shape(
        row, table, by_table, same(lambda random: ["log", 0]), tables
    )),
]  # fmt: skip
"""Contracts, each with what is drawn for it."""


def disturbed(random: Random, outcome: list[Item], strange: list[Item]) -> list[Item]:
    """Return an outcome that lacks an item, has one too many, another one, or another order."""
    items = list(outcome)
    if items and random.random() < 0.6:
        items.pop(random.randrange(len(items)))
    if random.random() < 0.6:
        items += random.sample(strange, min(1, len(strange)))
    return random.sample(items, len(items)) if random.random() < 0.5 else items


def agreement(contract: Any, shape: Shape, histories: int) -> Counter[bool]:
    """Compare the contract with the oracle; returns how often results were accepted, and refused."""
    random, judge, seen = Random(str(contract)), contract_named(contract), Counter[bool]()
    for _ in range(histories):
        history = drawn(random, shape)
        outcomes = {key_of(each): each for each in shape.outcomes(history)}
        shown = [outcomes[text] for text in random.sample(sorted(outcomes), min(2, len(outcomes)))]
        close = [disturbed(random, random.choice(shown), shape.result(random)) for _ in shown]
        for came in [*shown, *close, *(shape.result(random) for _ in range(2))]:
            accepted = any(shape.fits(outcome, came) for outcome in outcomes.values())
            verdict = judge_safely(judge, history.promises, json.loads(json.dumps(came)))
            assert (verdict is None) == accepted, (history.initial, history.lines, came, verdict)
            assert verdict is None or verdict.verdict != "unknown", (history.lines, verdict)
            seen[accepted] += 1
    return seen


@pytest.mark.parametrize(
    ("contract", "shape"), SHAPES, ids=lambda value: "" if isinstance(value, Shape) else str(value)
)
@pytest.mark.parametrize("histories", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_agrees_with_brute_force(contract: Any, shape: Shape, histories: int) -> None:
    """A result is accepted exactly if some order of the attempts explains it."""
    seen = agreement(contract, shape, histories)
    assert min(seen[True], seen[False]) > histories / 2
