"""`transactions`: all or nothing, in an order that respects acknowledgements."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Transactions
from tests.scenarios.target.contracts.oracle import History, histories, key_of
from tests.scenarios.target.contracts.rows import found_in

A = '[["a",1],["b",1]]'
B = '[["a",2],["b",2]]'
C = '[["b",3]]'
E = '[["a",4]]'
D = '[["a"],["c",3]]'

TABLE: list[tuple[str, list[Item], str]] = [
    (f"attempt {A}|ack {A}", [["a", 1], ["b", 1]], ""),
    (f"attempt {A}", [], ""),
    (f"attempt {A}", [["a", 1]], f'corrupt: transaction {A} is there in part: it has written key "a", but key'),
    (f"attempt {A}|ack {A}", [], f"loses: acknowledged, but gone: {A} (of 1 acknowledged)"),
    (f"attempt {A}|ack {A}", [["b", 1]], f"corrupt: transaction {A} is there in part"),
    (f"attempt {A}|ack {A}|attempt {B}", [["a", 2], ["b", 1]], f"corrupt: transaction {B} is there in part: it has"),
    (f"attempt {A}|ack {A}|attempt {B}|ack {B}", [["a", 1], ["b", 1]], f"loses: acknowledged, but gone: {B}"),
    (f"attempt {A}|ack {A}|attempt {B}|fail {B}", [["a", 2], ["b", 2]], ""),
    (f"attempt:v {A}|attempt:w {B}|ack:v {A}|ack:w {B}", [["a", 1], ["b", 1]], ""),
    (f"attempt:v {A}|attempt:w {B}|ack:v {A}|ack:w {B}", [["a", 2], ["b", 2]], ""),
    (f"attempt:v {A}|attempt:w {B}|ack:v {A}|ack:w {B}", [["a", 1], ["b", 2]], "corrupt: "),
    (f"attempt {A}|ack {A}|attempt {D}|ack {D}", [["b", 1], ["c", 3]], ""),
    (f"attempt {A}|ack {A}|attempt {D}", [["b", 1]], f"corrupt: transaction {D} is there in part: it has written"),
    (f"attempt {A}|ack {A}|attempt {D}", [["a", 1], ["b", 1], ["c", 3]], f"corrupt: transaction {D} is there in part"),
    # A is the last of a, C that of b, so A comes before C; E began after C had ended, and comes before A
    (f'attempt:v {A}|attempt:w {C}|ack:w {C}|attempt:w {E}|ack:w {E}', [["a", 1], ["b", 3]], "loses: acknowledged, but gone: "),
    (f"attempt {A}|ack {A}", [["a", 9], ["b", 1]], 'corrupt: key "a" came back as 9, which was never stored under it'),
    (f"attempt {A}|ack {A}", [["a", 1], ["b", 1], ["z", 1]], 'phantom: came back but was never attempted: key "z"'),
    (f"attempt {A}|ack {A}", [["a", 1], ["a", 1], ["b", 1]], 'duplicate: key came back more than once: "a"'),
]  # fmt: skip


@pytest.mark.parametrize(("journal", "recovered", "expected"), TABLE)
def test_table(journal: str, recovered: list[Item], expected: str) -> None:
    """Each broken promise has its verdict, and names the transaction."""
    assert found_in(Transactions(), journal, recovered, expected) == [expected] * bool(expected)


def test_what_was_there_is_owed() -> None:
    """Pairs that were there at first are owed one by one."""
    initial = [["a", 0], ["b", 0]]
    assert Transactions().judge(Promises(tuple(initial)), initial) == []
    (lost,) = Transactions().judge(Promises(tuple(initial)), [["a", 0]])
    assert lost.verdict == "loses"


@pytest.mark.parametrize("item", ["7", "[1]", '{"a":1}', '[["a",1,2]]'])
def test_senseless_items(item: str) -> None:
    """An item that is not a list of writes is the target's mistake."""
    with pytest.raises(UsageError, match="needs items"):
        Transactions().judge(Promises.parse(f"attempt {item}\n".encode()), [])


@pytest.mark.lengthy
def test_a_search_that_is_too_large_says_so() -> None:
    """Many transactions that overlap and store equal values: the check gives up, and says after how much."""
    pairs = [(f"a{group}", f"b{group}") for group in range(16)]
    items = [[[one, 0], [other, 0]] for one, other in pairs for _ in range(3)]
    items += [[["y", value], ["z", 1 - value]] for value in [0, 1] * 4]  # None of them leaves 0 in both.
    lines = [f"{kind}:w{at} {key_of(item)}\n" for kind in ("attempt", "ack") for at, item in enumerate(items)]
    recovered = [[key, 0] for pair in [*pairs, ("y", "z")] for key in pair]
    with pytest.raises(UsageError, match=r"too large: 2,000,000 steps did not settle .* 56 attempts"):
        Transactions().judge(Promises.parse("".join(lines).encode()), recovered)


def outcome(order: tuple[Item, ...]) -> str:
    state: dict[str, Item] = {}
    for item in order:
        for write in item:
            state.pop(write[0], None) if len(write) == 1 else state.update([write])
    return key_of(sorted(state.items()))


WRITES = st.tuples(st.sampled_from("klm"), st.integers(0, 2)).map(list) | st.sampled_from([["k"], ["l"]])
ITEMS = st.lists(WRITES, min_size=1, max_size=3)


@settings(deadline=None, max_examples=40)
@given(histories(ITEMS, attempts_max=4), st.data())
def test_agrees_with_brute_force(history: History, data: st.DataObject) -> None:
    """A map is accepted exactly if some order of whole transactions leads to it."""
    reachable = {outcome(tuple(each.item for each in order)) for order in history.orders()}
    states = st.dictionaries(st.sampled_from("klm"), st.integers(0, 2)).map(lambda state: sorted(state.items()))
    drawn = data.draw(states.map(key_of) | st.sampled_from(sorted(reachable)))
    recovered = [[key, value] for key, value in json.loads(drawn)]
    assert (not Transactions().judge(history.promises, recovered)) == (drawn in reachable)
