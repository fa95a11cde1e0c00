"""A second recovery that differs from the first breaks a promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.second_recovery import changed_folder, is_about, named, other_items
from crashmatrix.scenarios.target.contract import ContractName, Violation, contract_named

DUPLICATE = Violation(Verdict.DUPLICATE, "came back twice: 0")


def judge_none(_: Sequence[Any]) -> Violation | None:
    return None


@pytest.mark.parametrize(
    ("again", "objects", "expected"),
    [
        ([0, 1], True, None),
        ([0, 1, 0], True, Violation(Verdict.DUPLICATE, "after a second recovery: came back twice: 0")),
        ([0, 1, 0], False, Violation(Verdict.CORRUPT, "a second recovery returned other items than the first: 0")),
        ([0], False, Violation(Verdict.CORRUPT, "a second recovery returned other items than the first: 1")),
        ([0, 2], False, Violation(Verdict.CORRUPT, "a second recovery returned other items than the first: 1, 2")),
        (
            [1, 0],
            True,
            Violation(Verdict.REORDERED, "a second recovery returned the items in another order than the first"),
        ),
    ],
)
def test_other_items(again: list[int], objects: bool, expected: Violation | None) -> None:
    """Other items are judged by the contract first; if it has no objection, they are corrupt all the same."""
    assert other_items([0, 1], again, (lambda _: DUPLICATE) if objects else judge_none) == expected


@pytest.mark.parametrize(
    ("name", "ordered"),
    [
        ("exactly-once", True), ("prefix", True), ("latest", False), ("transactions", False), ("counter", False),
        ({"name": "within", "relative": 0.1}, False), ({"name": "within", "relative": 0.1, "of": "exactly-once"}, True),
    ],
)  # fmt: skip
def test_a_map_has_no_order(name: ContractName, ordered: bool) -> None:
    """A second recovery may return keys in another order: a hash table that draws its seed at each start does."""
    contract = contract_named(name)
    assert contract.ordered == ordered
    assert bool(other_items([["a", 1], ["b", 2]], [["b", 2], ["a", 1]], judge_none, ordered=ordered)) == ordered


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
