"""`latest` with deletes and several writers: tables, and the brute-force oracle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Latest
from tests.scenarios.target.contracts.oracle import History, histories, key_of
from tests.scenarios.target.contracts.rows import found_in

TABLE: list[tuple[str, list[Item], str]] = [
    # deletes
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]|ack ["a"]', [], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]|ack ["a"]', [["a", 1]], 'loses: key "a" came back as 1, though its deletion was'),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]', [["a", 1]], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]', [], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]|fail ["a"]', [], ""),
    ('attempt ["a"]|ack ["a"]|attempt ["a",1]|ack ["a",1]', [], 'loses: key "a" is gone; 1 was acknowledged'),
    ('attempt ["a"]|ack ["a"]', [], ""),
    # a null stored is a null, or a deletion
    ('attempt ["a",1]|ack ["a",1]|attempt ["a",null]|ack ["a",null]', [], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a",null]|ack ["a",null]', [["a", None]], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a",null]|ack ["a",null]', [["a", 1]], 'loses: key "a" came back as 1, though null'),
    ('attempt ["a",null]|ack ["a",null]|attempt ["a",1]|ack ["a",1]', [], 'loses: key "a" is gone; 1 was acknowledged'),
    ('attempt ["a",1]|ack ["a",1]|attempt ["a"]|ack ["a"]', [["a", None]], 'corrupt: key "a" came back as null, which was never'),
    # writers that overlap: either may be the last
    ('attempt:v ["a",1]|attempt:w ["a",2]|ack:v ["a",1]|ack:w ["a",2]', [["a", 1]], ""),
    ('attempt:v ["a",1]|attempt:w ["a",2]|ack:v ["a",1]|ack:w ["a",2]', [["a", 2]], ""),
    ('attempt:v ["a",1]|attempt:w ["a",2]|ack:w ["a",2]', [["a", 1]], ""),
    ('attempt:v ["a",1]|attempt:w ["a",2]|ack:w ["a",2]', [], 'loses: key "a" is gone; 2 was acknowledged'),
    # the second began after the first had ended
    (
        'attempt:v ["a",1]|ack:v ["a",1]|attempt:w ["a",2]|ack:w ["a",2]',
        [["a", 1]],
        'loses: key "a" came back as 1, though 2 was acknowledged after it (by w)',
    ),
    # a writer that goes on has given up its attempt before
    ('attempt:v ["a",1]|attempt:v ["a",2]|ack:v ["a",2]', [["a", 1]], 'loses: key "a" came back as 1, though 2'),
    ('attempt:v ["a",1]|attempt:v ["b",0]|attempt:w ["a",2]|ack:w ["a",2]', [["a", 1]], 'loses: key "a" came back as 1, though'),
]  # fmt: skip


@pytest.mark.parametrize(("journal", "recovered", "expected"), TABLE)
def test_table(journal: str, recovered: list[Item], expected: str) -> None:
    """A deleted key is gone; of attempts that overlap, either may be the last."""
    assert found_in(Latest(), journal, recovered, expected) == [expected] * bool(expected)


def test_a_value_that_was_there_is_stored_again() -> None:
    """This is right: it is there then. Only a second life that does nothing else says nothing."""
    there: list[Item] = [["a", 1], ["b", 2]]
    journal = b'attempt ["a",1]\nack ["a",1]\n'
    assert Latest().stored_again(Promises.parse(journal, there)) == ['["a",1]']
    more = Promises.parse(journal + b'attempt ["b",3]\nack ["b",3]\n', there)
    assert Latest().stored_again(more) == []
    assert Latest().judge(more, [["a", 1], ["b", 3]]) == []
    assert Latest().judge(more, there)


def test_a_deletion_is_not_recovered() -> None:
    """Recovery returns keys that are there; a deletion among them is the target's mistake."""
    with pytest.raises(UsageError, match=r"recovery must return items \[key, value\]"):
        Latest().judge(Promises(), [["a"]])


def outcome(order: tuple[Item, ...]) -> str:
    state: dict[str, Item] = {}
    for item in order:
        state.pop(item[0], None) if len(item) == 1 else state.update([item])
    return key_of(sorted(state.items()))


WRITES = st.tuples(st.sampled_from("kl"), st.integers(0, 2)).map(list) | st.sampled_from([["k"], ["l"]])
MAPS = st.dictionaries(st.sampled_from("kl"), st.integers(0, 2)).map(lambda state: [[*pair] for pair in state.items()])


@settings(deadline=None, max_examples=40)
@given(histories(WRITES), MAPS)
def test_agrees_with_brute_force(history: History, recovered: list[Item]) -> None:
    """A map is accepted exactly if some order of the attempts leads to it."""
    reachable = {outcome(tuple(each.item for each in order)) for order in history.orders()}
    assert (not Latest().judge(history.promises, recovered)) == (key_of(sorted(recovered)) in reachable)
