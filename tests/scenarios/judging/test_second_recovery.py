"""A second recovery that differs from the first breaks a promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.second_recovery import changed_folder, is_about, named, other_items
from crashmatrix.scenarios.target.contract import Prefix, Violation, contract_named

DUPLICATE = Violation(Verdict.DUPLICATE, "came back twice: 0")


def judge_none(_: Sequence[Any]) -> Violation | None:
    return None


def other(items: str) -> Violation:
    return Violation(Verdict.CORRUPT, f"a second recovery returned other items than the first: {items}")


OBJECTED = Violation(Verdict.DUPLICATE, "after a second recovery: came back twice: 0")
REORDERED = Violation(Verdict.REORDERED, "a second recovery returned the items in another order than the first")


TABLES = {"name": "tables", "tables": {"l": "prefix", "m": "latest"}}


class OfAUser(Prefix):
    def lasts(self, first: Sequence[Any], again: Sequence[Any]) -> bool:
        raise AssertionError("called outside a process of its own")


@pytest.mark.parametrize(
    ("contract", "items", "again", "expected"),
    [
        ("prefix", [0, 1], [0, 1], None),
        ("exactly-once", [0, 1], [0, 1, 0], other("0")),
        ("exactly-once", [0, 1], [0], other("1")),
        ("exactly-once", [0, 1], [0, 2], other("1, 2")),
        ("exactly-once", [0, 1], [1, 0], None),
        ("prefix", [0, 1], [1, 0], REORDERED),
        ("prefix", [0, 1], [0], other("1")),
        ("at-least-once", [0, 1], [1, 0, 0], None),
        ("at-least-once", [0, 1], [0, 0], other("0, 1")),
        ("at-most-once", [0, 1], [0], other("1")),
        ({"name": "at-least-once", "queue": True}, [0, 1], [1, 0, 0], None),
        ({"name": "at-least-once", "queue": True}, [0, 1], [0, 0], other("0, 1")),
        ({"name": "exactly-once", "queue": True}, [0, 1], [1, 0, 0], other("0")),
        ("latest", [["a", 1], ["b", 1]], [["b", 1], ["a", 1]], None),
        ("latest", [["a", 1]], [["a", 2]], other('["a",1], ["a",2]')),
        ({"name": "within", "absolute": 1}, [["a", 1], ["b", 1]], [["b", 1], ["a", 1.5]], None),
        ({"name": "within", "absolute": 1}, [["a", 1]], [["a", 3.5]], other('["a",1], ["a",3.5]')),
        ({"name": "within", "relative": 0.1}, [["a", 90]], [["a", 110]], None),
        ({"name": "within", "relative": 0.1}, [["a", 90]], [["a", 120]], other('["a",120], ["a",90]')),
        ({"name": "within", "absolute": 1}, [["a", 1]], [["b", 1]], other('["a",1], ["b",1]')),
        (TABLES, [["l", 0], ["m", ["k", 1]]], [["m", ["k", 1]], ["l", 0]], None),
        (TABLES, [["l", 0], ["l", 1]], [["l", 1], ["l", 0]], REORDERED),
        (OfAUser(), [0, 1], [1, 0], None),
        (OfAUser(), [0, 1], [0], other("1")),
    ],
)  # fmt: skip
def test_other_items(contract: Any, items: list[Any], again: list[Any], expected: Violation | None) -> None:
    """If the contract does not object to the second recovery itself, it says whether the first one's items lasted."""
    assert other_items(items, again, judge_none, contract_named(contract)) == expected


@pytest.mark.parametrize("again", [[0, 1, 0], [1, 0]])
def test_the_contract_has_the_first_word(again: list[int]) -> None:
    """Its verdict says more than that items differ."""
    assert other_items([0, 1], again, lambda _: DUPLICATE, contract_named("exactly-once")) == OBJECTED


def test_changed_folder() -> None:
    """The first few paths that differ are named."""
    assert changed_folder([]) is None
    found = changed_folder([str(number) for number in range(7)])
    assert found == Violation(Verdict.CORRUPT, "a second recovery changed the folder: 0, 1, 2, 3, 4")


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("recovery raised ValueError: bad", "a second recovery raised ValueError: bad"),
        ("after a second recovery: came back twice: 0", "after a second recovery: came back twice: 0"),
        ("row 7 differs", "in a second recovery: row 7 differs"),
    ],
)
def test_named(explanation: str, expected: str) -> None:
    """Every explanation says that the fault was in the second recovery."""
    assert named(explanation) == expected
    assert is_about(expected)
    assert not is_about('acknowledged, but gone: "second recovery"')
