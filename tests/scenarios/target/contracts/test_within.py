"""`within`: the same keys, values within a bound."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Within
from tests.scenarios.target.contracts.oracle import History, histories

HALF, TENTH = Within(absolute=0.5), Within(relative=0.1)
EACH = Within(absolute=0.5, of="exactly-once")

TABLE: list[tuple[Within, str, list[Item], str]] = [
    (HALF, 'attempt ["a",1]|ack ["a",1]', [["a", 1.4]], ""),
    (HALF, 'attempt ["a",1]|ack ["a",1]', [["a", 1.6]], 'corrupt: key "a" came back as 1.6, which was never'),
    (TENTH, 'attempt ["a",Infinity]|ack ["a",Infinity]', [["a", math.inf]], ""),
    (TENTH, 'attempt ["a",Infinity]|ack ["a",Infinity]', [["a", 4.0]], "corrupt: "),
    (TENTH, 'attempt ["a",4]|ack ["a",4]', [["a", math.inf]], "corrupt: "),
    (TENTH, 'attempt ["a",Infinity]|ack ["a",Infinity]', [["a", -math.inf]], "corrupt: "),
    (TENTH, 'attempt ["a",NaN]|ack ["a",NaN]', [["a", math.nan]], ""),
    (TENTH, 'attempt ["a",NaN]|ack ["a",NaN]', [["a", 1]], "corrupt: "),
    (TENTH, f'attempt ["a",{10**400}]|ack ["a",{10**400}]', [["a", 10**400]], ""),
    (TENTH, f'attempt ["a",{10**400}]|ack ["a",{10**400}]', [["a", 10**400 + 1]], "corrupt: "),
    (TENTH, f'attempt ["a",{10**400}]|ack ["a",{10**400}]', [["a", 0.5]], "corrupt: "),
    (EACH, 'attempt ["a",1]|ack ["a",1]', [["a"]], 'corrupt: key "a" came back as a key without a value: no value'),
    (HALF, 'attempt ["a",1]|ack ["a",1]', [], 'loses: key "a" is gone'),
    (HALF, 'attempt ["a",1]|ack ["a",1]|attempt ["a",3]|ack ["a",3]', [["a", 1.1]], "loses: "),
    (HALF, 'attempt ["a",1]|ack ["a",1]|attempt ["a",1.8]|ack ["a",1.8]', [["a", 1.4]], ""),
    # v's attempt is in flight, so it may be the last; w's is near as well, and began later, but was overwritten
    (HALF, 'attempt:v ["a",1]|attempt:w ["a",1.2]|ack:w ["a",1.2]|attempt:w ["a",5]|ack:w ["a",5]', [["a", 1.1]], ""),
    (TENTH, 'attempt ["a",100]|ack ["a",100]', [["a", 109]], ""),
    (TENTH, 'attempt ["a",100]|ack ["a",100]', [["a", 111]], "corrupt: "),
    (HALF, 'attempt ["a",[1,{"x":2}]]|ack ["a",[1,{"x":2}]]', [["a", [1.2, {"x": 1.9}]]], ""),
    (HALF, 'attempt ["a",{"x":2}]|ack ["a",{"x":2}]', [["a", {"x": 3}]], "corrupt: "),
    (HALF, 'attempt ["a",{"x":2}]|ack ["a",{"x":2}]', [["a", {"y": 2}]], "corrupt: "),
    (HALF, 'attempt ["a",{"x":2}]|ack ["a",{"x":2}]', [["a", {"x": 2, "y": 2}]], "corrupt: "),
    (HALF, 'attempt ["a",[1,"x"]]|ack ["a",[1,"x"]]', [["a", [1, "y"]]], "corrupt: "),
    (HALF, 'attempt ["a",true]|ack ["a",true]', [["a", 1]], "corrupt: "),
    (EACH, 'attempt ["a",1]|ack ["a",1]|attempt ["a",1.6]|ack ["a",1.6]', [["a", 1.3], ["a", 1.2]], ""),
    (EACH, 'attempt ["a",1]|ack ["a",1]|attempt ["a",1.6]|ack ["a",1.6]', [["a", 1.3]], 'loses: acknowledged, but gone: '),
    (EACH, 'attempt ["a",1]|ack ["a",1]', [["a", 1], ["a", 1.1]], 'duplicate: key "a" came back as 1.1: more often'),
    # 1.45 is near both, 0.9 only near 1: they are paired the other way about
    (EACH, 'attempt ["a",1]|ack ["a",1]|attempt ["a",1.9]|ack ["a",1.9]', [["a", 1.45], ["a", 0.9]], ""),
    (EACH, 'attempt ["a",1]|ack ["a",1]', [["a", 1], ["b", 1]], 'phantom: key "b"'),
    (EACH, 'attempt ["a",1]', [["a", 2]], 'corrupt: key "a" came back as 2: no value within 0.5'),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "journal", "recovered", "expected"), TABLE)
def test_table(contract: Within, journal: str, recovered: list[Item], expected: str) -> None:
    """Numbers may differ by the bound, everything else must be equal."""
    promises = Promises.parse(journal.replace("|", "\n").encode() + b"\n")
    found = [f"{one.verdict}: {one.explanation}" for one in contract.judge(promises, recovered)]
    assert [one[: len(expected)] for one in found] == [expected] * bool(expected)
    if contract is not EACH:
        assert ["nor any value within" in one for one in found] == [one.startswith("corrupt") for one in found]


def test_senseless_items() -> None:
    """An item that is not a pair is the target's mistake."""
    with pytest.raises(UsageError, match="needs items"):
        HALF.judge(Promises.parse(b"attempt 1\n"), [])


PAIRS = st.tuples(st.just("k"), st.integers(0, 4)).map(list)


@settings(deadline=None, max_examples=40)
@given(histories(PAIRS, attempts_max=4), st.sampled_from([[], *([["k", value / 2]] for value in range(10))]))
def test_latest_agrees_with_brute_force(history: History, recovered: list[Item]) -> None:
    """A value is accepted exactly if some order of the attempts ends with one within the bound."""
    values = {order[-1].item[1] if order else None for order in history.orders()}
    near = any(
        abs(recovered[0][1] - value) <= 0.5 if recovered and value is not None else recovered == [] and value is None
        for value in values
    )
    assert (not HALF.judge(history.promises, recovered)) == near


@settings(deadline=None, max_examples=40)
@given(histories(PAIRS, attempts_max=4), st.lists(st.integers(0, 9).map(lambda value: ["k", value / 2]), max_size=4))
def test_exactly_once_agrees_with_brute_force(history: History, recovered: list[Item]) -> None:
    """Values are accepted exactly if some choice of the attempts can be paired with them within the bound."""
    possible = any(
        len(order) == len(recovered)
        and any(
            all(abs(found[1] - each.item[1]) <= 0.5 for found, each in zip(recovered, paired, strict=True))
            for paired in itertools.permutations(order)
        )
        for order in history.orders()
    )
    assert (not EACH.judge(history.promises, recovered)) == possible
