"""Items stored one by one, at least and at most once."""

from __future__ import annotations

import pytest

from crashmatrix import Item
from crashmatrix.scenarios.target.contract import AtLeastOnce, AtMostOnce, Contract
from tests.scenarios.target.contracts.rows import found_in

TABLE: list[tuple[Contract, str, list[Item], str]] = [
    (AtLeastOnce(), "attempt 1|ack 1", [1, 1, 1], ""),
    (AtLeastOnce(), "attempt 1|ack 1", [], "loses: acknowledged, but gone: 1"),
    (AtLeastOnce(), "|".join(["attempt 1|ack 1"] * 3), [], "loses: acknowledged, but gone: 1 (of 3 acknowledged)"),
    (AtLeastOnce(), "attempt 1|ack 1", [1, 2], "phantom: "),
    (AtMostOnce(), "attempt 1|ack 1", [], ""),
    (AtMostOnce(), "attempt 1|ack 1", [1, 1], "duplicate: "),
    (AtMostOnce(), "attempt 1|ack 1", [2], "phantom: "),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "journal", "recovered", "expected"), TABLE)
def test_table(contract: Contract, journal: str, recovered: list[Item], expected: str) -> None:
    """An acknowledged item is owed unless it may be gone, and no other comes back than one attempted."""
    assert found_in(contract, journal, recovered, expected) == [expected] * bool(expected)
