"""Items stored one by one, at least and at most once, and queues."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import AtLeastOnce, AtMostOnce, Contract, Queue
from tests.scenarios.target.contracts.oracle import History, histories, key_of

PUT, DONE, TAKING = 'attempt ["put",1]|ack ["put",1]', '|attempt ["done",1]|ack ["done",1]', '|attempt ["done",1]'

TABLE: list[tuple[Contract, str, list[Item], str]] = [
    (AtLeastOnce(), "attempt 1|ack 1", [1, 1, 1], ""),
    (AtLeastOnce(), "attempt 1|ack 1", [], "loses: acknowledged, but gone: 1"),
    (AtLeastOnce(), "|".join(["attempt 1|ack 1"] * 3), [], "loses: acknowledged, but gone: 1 (of 3 acknowledged)"),
    (AtLeastOnce(), "attempt 1|ack 1", [1, 2], "phantom: "),
    (AtMostOnce(), "attempt 1|ack 1", [], ""),
    (AtMostOnce(), "attempt 1|ack 1", [1, 1], "duplicate: "),
    (AtMostOnce(), "attempt 1|ack 1", [2], "phantom: "),
    (Queue(), PUT, [1], ""),
    (Queue(), PUT, [], "loses: put and acknowledged, not done, but gone: 1"),
    (Queue(), PUT, [1, 1], "duplicate: came back more often than it was put: 1"),
    (Queue(), PUT + TAKING, [1], ""),
    (Queue(), PUT + TAKING, [], ""),
    (Queue(), PUT + DONE, [], ""),
    (Queue(), PUT + DONE, [1], "duplicate: came back though its done was acknowledged: 1"),
    (Queue(), PUT + TAKING + '|fail ["done",1]', [1], ""),
    (Queue(), 'attempt ["put",1]', [], ""),
    (Queue(), 'attempt ["put",1]', [1], ""),
    (Queue(), PUT, [1, 2], "phantom: came back but was never put: 2"),
    (Queue(), f"{PUT}|{PUT}{DONE}", [1], ""),
    (Queue(), f"{PUT}|{PUT}{DONE}", [], "loses: "),
    (Queue(repeats=True), PUT, [1, 1], ""),
    (Queue(repeats=True), PUT + DONE, [1], "duplicate: "),
    (Queue(repeats=True), PUT, [], "loses: "),
    (Queue(lossy=True), PUT, [], ""),
    (Queue(lossy=True), PUT, [1, 1], "duplicate: "),
    (Queue(lossy=True), PUT + DONE, [1], "duplicate: "),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "journal", "recovered", "expected"), TABLE)
def test_table(contract: Contract, journal: str, recovered: list[Item], expected: str) -> None:
    """An item that was put stays until it is done, and does not come back then."""
    promises = Promises.parse(journal.replace("|", "\n").encode() + b"\n")
    found = [f"{one.verdict}: {one.explanation}" for one in contract.judge(promises, recovered)]
    assert [one[: len(expected)] for one in found] == [expected] * bool(expected)


def test_items_of_a_queue() -> None:
    """Items of another form are the target's mistake; items there at first are plain, as recovered ones."""
    with pytest.raises(UsageError, match=r'a queue needs items \["put", X\]'):
        Queue().judge(Promises.parse(b"attempt 1\n"), [])
    assert Queue().judge(Promises((1,)), [1]) == []
    assert [one.verdict for one in Queue().judge(Promises((1,)), [])] == ["loses"]


PUTS = st.sampled_from([1, 2]).map(lambda item: ["put", item])


@settings(deadline=None, max_examples=40)
@given(histories(PUTS), st.lists(st.sampled_from([1, 2, 3]), max_size=3), st.lists(st.sampled_from([1, 2]), max_size=4))
def test_agrees_with_brute_force(history: History, finished: list[int], recovered: list[int]) -> None:
    """The rest is accepted exactly if some choice of the attempts leaves it."""
    there = Counter(each.item[1] for each in history.attempts)
    done = [item for item in finished if item in there and finished.count(item) <= there[item]]
    owed = Counter(each.item[1] for each in history.attempts if each.status == "ack")
    done = [item for item in done if finished.count(item) <= owed[item]]
    for item in done:
        history.lines += [f'attempt ["done",{item}]', f'ack ["done",{item}]']
    reachable = set()
    for order in history.orders():
        left = Counter(each.item[1] for each in order)
        left.subtract(done)
        reachable.add(key_of(sorted(left.elements())))
    assert (not Queue().judge(history.promises, recovered)) == (key_of(sorted(recovered)) in reachable)
