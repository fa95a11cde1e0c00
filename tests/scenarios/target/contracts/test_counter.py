"""`counter`: every acknowledged amount is in the total, and any of the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Counter
from tests.scenarios.target.contracts.oracle import History, histories
from tests.scenarios.target.contracts.rows import found_in

HUGE = 10**400

TABLE: list[tuple[str, list[Item], str]] = [
    ("attempt 1|ack 1|attempt 2|ack 2", [3], ""),
    ("attempt 1|ack 1|attempt 2", [1], ""),
    ("attempt 1|ack 1|attempt 2", [3], ""),
    ("attempt 1|ack 1|attempt 2", [2], "corrupt: the counter came back as 2; 1 was acknowledged, and from 1 to 3 are possible"),
    ("attempt 1|ack 1|attempt 2|ack 2", [1], "loses: the counter came back as 1; 3 was acknowledged"),
    ("attempt 1|ack 1", [2], "duplicate: the counter came back as 2; 1 was acknowledged: something was added twice"),
    ("attempt 1|ack 1", [], "loses: the counter came back as 0"),
    ("attempt 1|ack 1", [1, 1], "duplicate: came back more than once"),
    ("attempt 5|ack 5|attempt -3", [2], ""),
    ("attempt 5|ack 5|attempt -3", [1], "loses: "),
    ("attempt 0.1|ack 0.1|attempt 0.2|ack 0.2", [0.3], ""),
    ("attempt 1e12|ack 1e12|attempt 0.5|ack 0.5", [1e12], "loses: "),
    ("attempt 1e12|ack 1e12|attempt 0.5", [1e12], ""),
    (f"attempt {10**400}|ack {10**400}|attempt 1|ack 1", [10**400], "loses: "),
    (f"attempt {HUGE}|ack {HUGE}|attempt 0.25|ack 0.25", [HUGE], ""),
    (f"attempt {HUGE}|ack {HUGE}|attempt 1.5|ack 1.5", [HUGE + 1], ""),
    (f"attempt {HUGE}|ack {HUGE}|attempt 1.5|ack 1.5", [HUGE], "loses: "),
    (f"attempt {HUGE}|ack {HUGE}|attempt 1.5|ack 1.5", [HUGE + 3], "duplicate: "),
    (f"attempt {HUGE}|ack {HUGE}|attempt 0.5", [0.5], "loses: the counter came back as 0.5; 1000"),
    (f"attempt {HUGE}|attempt 0.5", [0.5], ""),
    (f"attempt {HUGE}|attempt 9.5", [4.5], "corrupt: "),
    ("attempt 1.5e308|ack 1.5e308|attempt 1.5e308|ack 1.5e308", [1.5e308], "loses: "),
    ('attempt ["a",1]|ack ["a",1]|attempt ["b",2]|ack ["b",2]', [["a", 1], ["b", 2]], ""),
    ('attempt ["a",1]|ack ["a",1]|attempt ["b",2]|ack ["b",2]', [["a", 1]], 'loses: counter "b" came back as 0'),
    ("", [], ""),
]  # fmt: skip


@pytest.mark.parametrize(("journal", "recovered", "expected"), TABLE)
def test_table(journal: str, recovered: list[Item], expected: str) -> None:
    """A total is judged by what was acknowledged and what may have been added besides."""
    assert found_in(Counter(), journal, recovered, expected) == [expected] * bool(expected)


def test_it_goes_on_from_what_was_there() -> None:
    """The totals at first count."""
    assert Counter().judge(Promises((7,)), [7]) == []
    assert [one.verdict for one in Counter().judge(Promises((["a", 7],)), [])] == ["loses"]


@pytest.mark.parametrize("item", ['"a"', "true", "NaN", "[1,2,3]", "null"])
def test_senseless_items(item: str) -> None:
    """An item without a number is the target's mistake."""
    with pytest.raises(UsageError, match="needs items that are numbers"):
        Counter().judge(Promises.parse(f"attempt {item}\n".encode()), [])


def test_too_many_totals_say_so() -> None:
    """Amounts that allow more totals than can be tried: the check gives up, and says after how many."""
    journal = "".join(f"attempt {2**at}\n" for at in range(20))
    with pytest.raises(UsageError, match=r"too large: 20 amounts .* 100,000 totals"):
        Counter().judge(Promises.parse(journal.encode()), [5])


@settings(deadline=None, max_examples=40)
@given(histories(st.integers(-3, 3)), st.integers(-9, 9))
def test_agrees_with_brute_force(history: History, recovered: int) -> None:
    """A total is accepted exactly if some choice of the attempts adds up to it."""
    reachable = {sum(each.item for each in order) for order in history.orders()}
    assert (not Counter().judge(history.promises, [recovered])) == (recovered in reachable)
