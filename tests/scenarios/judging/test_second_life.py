"""The promises of a second life, and the verdicts on one, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.second_life import (
    Recovered,
    failed_check,
    failed_resumption,
    is_about,
    named,
    nothing_stored,
    stored_again,
    varied,
)
from crashmatrix.scenarios.judging.snapshots.tree import Entry, Tree
from crashmatrix.scenarios.processes.result import Died, JobResult, Raised, TimedOut
from crashmatrix.scenarios.target.contract import ExactlyOnce, Violation, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Promises

EMPTY = Tree(())
ROOT = Path("/scratch/root")

LIMIT = "(300 s, 10 times seconds_max, or less once one has hung for all of it)"


@pytest.mark.parametrize(
    ("contract", "there", "journal", "back", "expected"),
    [
        ("exactly-once", [0, 1], "attempt 9\nack 9\n", [0, 1, 9], None),
        ("exactly-once", [0, 1], "attempt 9\n", [0, 1], None),
        ("exactly-once", [0, 1], "attempt 9\nack 9\n", [0, 9], "hole"),
        ("exactly-once", [0, 1], "attempt 9\nack 9\n", [0, 1], "loses"),
        ("exactly-once", [0], "attempt 9\nack 9\n", [0, 9, 9], "duplicate"),
        ("exactly-once", [0], "", [0, 1], "phantom"),  # attempted before the crash, and not recovered then
        ("prefix", [0, 1], "attempt 9\nack 9\n", [0, 1, 9], None),
        ("prefix", [0, 1], "attempt 9\nack 9\n", [0, 9, 1], "reordered"),
        ("latest", [["a", 1]], 'attempt ["a", 9]\n', [["a", 1]], None),
        ("latest", [["a", 1]], 'attempt ["a", 9]\nack ["a", 9]\n', [["a", 1]], "loses"),
        ("latest", [["a", 1]], "", [["a", 0]], "corrupt"),
    ],
)
def test_promises(contract: str, there: list[Any], journal: str, back: list[Any], expected: str | None) -> None:
    """The items recovered are owed, and those acknowledged since; nothing else may come back."""
    promises = Recovered(EMPTY, tuple(there)).promises(journal.encode())
    violation = judge_safely(contract_named(contract), promises, back)
    assert (violation and violation.verdict.value) == expected


def test_equal_second_lives_have_one_key() -> None:
    """The folder counts, and the items in their order; nothing else does."""
    other = Tree((("a", Entry("directory", 0o755, "")),))
    keys = [Recovered(EMPTY, (0, 1)).key, Recovered(EMPTY, (1, 0)).key, Recovered(other, (0, 1)).key]
    assert len(set(keys)) == 3
    assert Recovered(EMPTY, (0, 1)).key == keys[0]


@pytest.mark.parametrize(
    ("result", "verdict", "words"),
    [
        (
            TimedOut(),
            Verdict.HANGS,
            f"when it was resumed: resume was still running at its time limit {LIMIT}",
        ),
        (
            Raised(("ValueError", "Exception"), f"{ROOT}/log is odd", ""),
            Verdict.CANNOT_OPEN,
            "it could not be resumed after recovery: resume raised ValueError: ROOT/log is odd",
        ),
        (Died(-11), Verdict.CANNOT_OPEN, "it could not be resumed after recovery: resume died by SIGSEGV"),
        (
            Raised(("PromiseBroken", "Exception"), "", "", (Verdict.DUPLICATE, "id 3 was given out again")),
            Verdict.DUPLICATE,
            "when it was resumed: id 3 was given out again",
        ),
        (Raised((UsageError.__name__,), "no such option", ""), Verdict.UNKNOWN, "when it was resumed: no such option"),
    ],
)
def test_failed_resumption(result: JobResult[object], verdict: Verdict, words: str) -> None:
    """A `resume` that does not return is a verdict, and its explanation says that it was the second life."""
    assert failed_resumption(result, ROOT, 300) == Violation(verdict, words)
    assert is_about(words) and not is_about("recovery raised ValueError: resumed too early")


def test_failed_check() -> None:
    """The same from the words of a forked check."""
    assert failed_check(Verdict.CANNOT_OPEN, "resume died by SIGSEGV", 300).explanation.startswith(
        "it could not be resumed"
    )
    assert (
        failed_check(Verdict.HANGS, "resume was still running at its time limit", 300).explanation
        == f"when it was resumed: resume was still running at its time limit {LIMIT}"
    )
    assert failed_check(Verdict.CANNOT_OPEN, "says the store", 300).explanation == "when it was resumed: says the store"


def test_varied() -> None:
    """Kinds not seen yet come first: new first parts of a kind, then new second parts, then others, drawn."""
    kinds = {f"often {number}": ("a", "x") for number in range(20)}
    kinds |= {"rare": ("a", "y"), "new": ("b", "x"), "known": ("c", "x")}
    for seed in "012345":
        first = varied(kinds, 5, seed, [("c", "x")])
        assert first[0].partition(" ")[0] in {"often", "rare", "new"}
        assert {"new", "rare"} < {*first[:3]} and "known" not in first[:3]
    assert len({(*varied(kinds, 6, seed),) for seed in "0123"}) == 4
    assert varied(kinds, 30, "0") == varied(kinds, 30, "0")
    assert {*varied(kinds, 30, "0")} == {*kinds}
    assert varied({}, 3, "0") == []


def test_stored_again() -> None:
    """An item that recovery had returned is not new; one that a second life tries twice is."""
    again = Promises.parse(b"attempt 7\nattempt 1\n", [0, 1])
    said = stored_again(ExactlyOnce(), again)
    assert said.startswith("resume attempted what recovery had returned before: 1; store new items")
    assert is_about(said)
    assert not stored_again(ExactlyOnce(), Promises.parse(b"attempt 7\nattempt 7\nack 7\n", [0, 1]))
    assert not stored_again(ExactlyOnce(retries=True), again)


def test_nothing_stored() -> None:
    """Whether anything was attempted is said."""
    assert nothing_stored(2).startswith("resume attempted items and acknowledged none after any crash")
    assert nothing_stored().startswith("resume acknowledged nothing after any crash")


def test_named() -> None:
    """The explanation says what was owed and what came back, if anything did; it is recognised, behind other words, too."""
    promises = Promises.parse(b"attempt 7\nack 7\nattempt 8\n", [0, 1])
    text = named("acknowledged, but gone: 7", promises, [0, 1])
    assert text == (
        "after it was resumed: acknowledged, but gone: 7. Items there when it was resumed: 2; acknowledged since: 1; came back: 2"
    )
    assert named("recovery died", promises, None) == "after it was resumed: recovery died"
    assert is_about(f"the process was killed at note 3 and restarted, then the power went: {text}")
    assert not is_about("power went in the second life that began after a kill: acknowledged, but gone: 7")
