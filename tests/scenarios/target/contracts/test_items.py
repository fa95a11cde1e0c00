"""Items stored one by one, at least and at most once."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix import Item, Promises
from crashmatrix.scenarios.target.contract import AtLeastOnce, AtMostOnce, Contract, ExactlyOnce, Prefix
from tests.scenarios.target.contracts.rows import found_in

RETRIED = [
    "attempt 1|fail 1|attempt 1|ack 1",
    "attempt 1|attempt 1|ack 1",
    "attempt 1|ack 1|attempt 1|ack 1",
    "attempt:v 1|attempt:w 1|ack:w 1",
    "attempt 1|ack 1|attempt 1|fail 1",
]

TABLE: list[tuple[Contract, str, list[Item], str]] = [
    (AtLeastOnce(), "attempt 1|ack 1", [1, 1, 1], ""),
    (AtLeastOnce(), "attempt 1|ack 1", [], "loses: acknowledged, but gone: 1"),
    (AtLeastOnce(), "|".join(["attempt 1|ack 1"] * 3), [], "loses: acknowledged, but gone: 1 (of 3 acknowledged)"),
    (AtLeastOnce(), "attempt 1|ack 1", [1, 2], "phantom: "),
    (AtMostOnce(), "attempt 1|ack 1", [], ""),
    (AtMostOnce(), "attempt 1|ack 1", [1, 1], "duplicate: "),
    (AtMostOnce(), "attempt 1|ack 1", [2], "phantom: "),
    # equal items: the first one failed, and may be there; or it was acknowledged, and is owed
    (ExactlyOnce(), "attempt 1|fail 1|attempt 1|ack 1", [1, 1], ""),
    (ExactlyOnce(), "attempt 1|ack 1|attempt 1|ack 1", [1], "loses: "),
    *((contract, journal, [1], "")
      for contract in (ExactlyOnce(retries=True), AtLeastOnce(retries=True), AtMostOnce(retries=True)) for journal in RETRIED),
    *((contract, journal, [1, 1], "duplicate: came back more than once, though its request was retried: 1")
      for contract in (ExactlyOnce(retries=True), AtMostOnce(retries=True)) for journal in RETRIED),
    *((contract, journal, [], "loses: acknowledged, but gone: 1 (of 1 acknowledged)")
      for contract in (ExactlyOnce(retries=True), AtLeastOnce(retries=True)) for journal in RETRIED),
    *((AtLeastOnce(retries=True), journal, [1, 1, 1], "") for journal in RETRIED),
    *((AtMostOnce(retries=True), journal, [], "") for journal in RETRIED),
    (ExactlyOnce(retries=True), "attempt 1|fail 1|attempt 1", [], ""),  # it had no answer yet
    (ExactlyOnce(retries=True), "attempt 1|fail 1|attempt 1", [1], ""),
    (ExactlyOnce(retries=True), "attempt 1|fail 1|attempt 1", [1, 1], "duplicate: "),
    # the retry is not an acknowledgement of its own that is gone: nothing after 3 came back
    (ExactlyOnce(retries=True), "attempt 1|ack 1|attempt 1|ack 1|attempt 2|ack 2|attempt 3|ack 3", [1, 2], "loses: "),
]  # fmt: skip


@pytest.mark.parametrize("contract", [ExactlyOnce, AtLeastOnce, AtMostOnce, Prefix])
def test_a_retry_after_a_crash(contract: Any) -> None:
    """An item that recovery had returned is there once, whether it was tried again or not; another one is stored now."""
    life = Promises.parse(b"attempt 1\nack 1\nattempt 2\nack 2\n", [0, 1])
    assert contract(retries=True).judge(life, [0, 1, 2]) == []
    assert contract().stored_again(life) == ["1"]
    assert contract(retries=True).stored_again(life) == []
    assert bool(contract(retries=True).judge(life, [0, 1, 1, 2])) is (contract is not AtLeastOnce)
    assert bool(contract(retries=True).judge(life, [0, 1])) is (contract is not AtMostOnce)


@pytest.mark.parametrize(("contract", "journal", "recovered", "expected"), TABLE)
def test_table(contract: Contract, journal: str, recovered: list[Item], expected: str) -> None:
    """An acknowledged item is owed unless it may be gone, and no other comes back than one attempted."""
    assert found_in(contract, journal, recovered, expected) == [expected] * bool(expected)
