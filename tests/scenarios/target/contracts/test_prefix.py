"""`prefix` with several writers: the order of attempts that overlap is open. (`test_contract.py` has one writer.)"""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Prefix
from crashmatrix.scenarios.target.contracts import prefix
from crashmatrix.scenarios.target.contracts.history import Budget
from tests.scenarios.target.contracts.oracle import History, histories

TABLE: list[tuple[str, list[Item], str]] = [
    ("attempt:v 1|attempt:w 2|ack:v 1|ack:w 2", [2, 1], ""),
    ("attempt:v 1|attempt:w 2|ack:v 1|ack:w 2", [1, 2], ""),
    ("attempt:v 1|ack:v 1|attempt:w 2|ack:w 2", [2, 1], "reordered: no order of the attempts begins like this: 2 came back at"),
    ("attempt:v 1|attempt:w 2|ack:w 2", [2], ""),
    ("attempt:v 1|ack:v 1|attempt:w 2", [2], "loses: "),
    ("attempt:v 1|attempt:v 3|attempt:w 2|ack:w 2", [2], "hole: "),  # v had given 1 up before 2 began
    ("attempt:v 1|fail:v 1|attempt:w 2|ack:w 2", [2], ""),
    # equal items: v's was in flight and came back, so it is w's that is gone
    ("attempt:v 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [1, 0], "loses: acknowledged, but gone: 1 (by w); what came back is"),
    ("attempt:v 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [0, 1], ""),
    ("attempt:v 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [1, 0, 1], ""),
    ("attempt:w 1|attempt:w 1|ack:w 1|attempt:v 0", [1], ""),  # a retry: either may be the one that was acknowledged
]  # fmt: skip


@pytest.mark.parametrize(("journal", "recovered", "expected"), TABLE)
def test_table(journal: str, recovered: list[Item], expected: str) -> None:
    """The items that came back are the beginning of some order of the attempts."""
    promises = Promises.parse(journal.replace("|", "\n").encode() + b"\n")
    found = [f"{one.verdict}: {one.explanation}" for one in Prefix().judge(promises, recovered)]
    assert [one[: len(expected)] for one in found] == [expected] * bool(expected)


def test_a_search_that_is_too_large_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many attempts that overlap and store equal items: the check gives up, and says after how much."""
    monkeypatch.setattr(prefix, "Budget", partial(Budget, steps_max=20_000))
    lines = [f"{kind}:w{at} {at % 3}\n" for kind in ("attempt", "ack") for at in range(60)]
    promises = Promises.parse("".join(lines).encode())
    with pytest.raises(UsageError, match=r"too large: .* 60 attempts"):
        Prefix().judge(promises, [at % 3 for at in range(60)])


@settings(deadline=None, max_examples=40)
@given(histories(st.integers(0, 3)), st.data())
def test_agrees_with_brute_force(history: History, data: st.DataObject) -> None:
    """A log is accepted exactly if it begins some order of the attempts and has every acknowledged one."""
    history.lines += ["attempt:d 9", "fail:d 9"]  # Another writer: the order is that of the intervals.
    reachable = {()}
    reachable.clear()
    for order in history.orders(optional=("fail",)):
        owed = Counter((each.writer, each.item) for each in order if each.status == "ack")
        for length in range(len(order) + 1):
            if not owed - Counter((each.writer, each.item) for each in order[:length]):
                reachable.add(tuple(each.item for each in order[:length]))
    drawn = data.draw(st.lists(st.integers(0, 3), max_size=5).map(tuple) | st.sampled_from(sorted(reachable)))
    assert (not Prefix().judge(history.promises, [*drawn])) == (drawn in reachable)
