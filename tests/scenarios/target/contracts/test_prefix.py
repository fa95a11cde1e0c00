"""`prefix` with several writers: the order of attempts that overlap is open. (`test_contract.py` has one writer.)"""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import ExactlyOnce, Prefix
from crashmatrix.scenarios.target.contracts import prefix
from crashmatrix.scenarios.target.contracts.history import Budget
from tests.scenarios.target.contracts.oracle import History, histories, logs
from tests.scenarios.target.contracts.rows import found_in

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
    # the first attempt failed, and may have taken effect: the second one is owed
    ("attempt:w 1|fail:w 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1|attempt:v 9", [1, 0], "loses: acknowledged, but gone: 1 ("),
    ("attempt:w 1|fail:w 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [1, 0], "loses: acknowledged, but gone: 1 (by w); what"),
    ("attempt:w 1|fail:w 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [0, 1], ""),
    ("attempt:w 1|fail:w 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1", [1, 0, 1], ""),
    ("attempt:w 1|fail:w 1|attempt:w 1|ack:w 1", [1], ""),
    # so if it had no answer, and the writer went on
    ("attempt 1|attempt 0|ack 0|attempt 1|ack 1", [1, 0], "loses: acknowledged, but gone: 1; what came back is an equal item"),
    ("attempt:w 1|attempt:w 0|ack:w 0|attempt:w 1|ack:w 1|attempt:v 9", [1, 0], "loses: acknowledged, but gone: 1 ("),
    # one writer without a name, whose attempts overlap
    ("attempt 1|attempt 2|ack 1|ack 2", [2, 1], ""),
    ("attempt 1|attempt 2|ack 2|ack 1|attempt 3|ack 3", [2, 1, 3], ""),
    ("attempt 1|attempt 2|ack 2|ack 1|attempt 3|ack 3", [2, 3, 1], "reordered: no order of the attempts begins like this: 3"),
    ("attempt 1|attempt 2|ack 2|ack 1|attempt 3|ack 3", [3, 1], "hole: acknowledged, but gone: 2"),
    ("attempt 1|attempt 2|ack 1|attempt 3|ack 3", [1, 3], ""),  # 2 may be in flight
    ("attempt 1|attempt 5|ack 5|attempt 1|ack 1|attempt 6|ack 6|ack 1", [1, 5, 6, 1], ""),
]  # fmt: skip


RETRIED: list[tuple[str, list[Item], str]] = [
    ("attempt 1|fail 1|attempt 1|ack 1|attempt 2|ack 2", [1, 2], ""),
    ("attempt 1|fail 1|attempt 1|ack 1|attempt 2|ack 2", [1, 1, 2], "duplicate: "),
    ("attempt 1|ack 1|attempt 2|ack 2|attempt 1|ack 1", [1, 2], ""),
    ("attempt 1|ack 1|attempt 2|ack 2|attempt 1|ack 1", [2, 1], "reordered: no prefix"),
    ("attempt 1|ack 1|attempt 2|ack 2|attempt 1|ack 1", [1, 2, 1], "duplicate: "),
    # it had no answer, and the client went on: each try may be the one that took effect
    *((f"attempt:v 1{failed}|attempt:v 2|ack:v 2|attempt:v 1|ack:v 1|attempt:v 3|ack:v 3", found, "")
      for failed in ("", "|fail:v 1") for found in ([1, 2, 3], [2, 1, 3])),
    ("attempt 1|attempt 2|ack 2|attempt 1|ack 1|attempt 3|ack 3", [2, 3], "hole: acknowledged, but gone: 1"),
    ("attempt 1|attempt 2|ack 2|attempt 1|ack 1|attempt 3|ack 3", [2, 3, 1], "reordered: no order of the attempts"),
    # the last try is in flight
    ("attempt:v 1|attempt:v 2|ack:v 2|attempt:v 1", [2], ""),
    ("attempt:v 1|attempt:v 2|ack:v 2|attempt:v 1", [2, 1], ""),
    ("attempt:v 1|attempt:v 2|ack:v 2|attempt:v 1", [1, 2], ""),
    ("attempt:v 1|attempt:v 2|ack:v 2|attempt:v 1", [1, 2, 1], "duplicate: "),
    ("attempt 1|fail 1|attempt 1|fail 1|attempt 2|ack 2", [2], ""),
]  # fmt: skip


@pytest.mark.parametrize(("journal", "recovered", "expected"), RETRIED)
def test_retries(journal: str, recovered: list[Item], expected: str) -> None:
    """Equal items are one request: it comes back once, where one of its tries may have taken effect."""
    assert found_in(Prefix(retries=True), journal, recovered, expected)[:1] == [expected] * bool(expected)


@pytest.mark.parametrize(("journal", "recovered", "expected"), TABLE)
def test_table(journal: str, recovered: list[Item], expected: str) -> None:
    """The items that came back are the beginning of some order of the attempts."""
    assert found_in(Prefix(), journal, recovered, expected) == [expected] * bool(expected)


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
    reachable = {tuple(log) for log in logs(history)}
    drawn = data.draw(st.lists(st.integers(0, 3), max_size=5).map(tuple) | st.sampled_from(sorted(reachable)))
    assert (not Prefix().judge(history.promises, [*drawn])) == (drawn in reachable)


@settings(deadline=None, max_examples=100)
@given(histories(st.integers(0, 2)), st.data())
def test_retries_that_brute_force_explains(history: History, data: st.DataObject) -> None:
    """A log that keeps each item once, whichever try came first, is accepted."""
    log = data.draw(st.sampled_from(sorted({tuple(dict.fromkeys(log)) for log in logs(history)})))
    assert Prefix(retries=True).judge(history.promises, [*log]) == []
    assert ExactlyOnce(retries=True).judge(history.promises, [*log]) == []


@settings(deadline=None, max_examples=100)
@given(histories(st.integers(0, 2), ends=("ack", "ack", "ack", "open")), st.data())
def test_writers_without_names_are_not_blamed(history: History, data: st.DataObject) -> None:
    """If their attempts overlap, and no name says whose each one is, everything that the names explain is accepted."""
    log = data.draw(st.sampled_from(sorted(tuple(log) for log in logs(history))))
    unnamed = [f"{line.split(':')[0]} {line.split(' ', 1)[1]}" for line in history.lines]
    if any(each.status == "open" for each in history.attempts):  # Else an attempt without an end looks as if given up.
        unnamed = ["attempt 7", "attempt 8", "ack 7", "ack 8", *unnamed]
        log = 7, 8, *log
    assert Prefix().judge(Promises.parse("".join(f"{line}\n" for line in unnamed).encode()), [*log]) == []
