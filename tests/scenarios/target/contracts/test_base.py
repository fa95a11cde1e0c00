"""The interface of contracts: a journal must make sense for each writer, and a check cannot end a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from crashmatrix import Promises, UsageError, Verdict
from crashmatrix.scenarios.target.contract import Contract, ExactlyOnce, Violation, contract_named, judge_safely
from crashmatrix.scenarios.target.journal import Item
from tests import ROOT


@pytest.mark.parametrize("journal", ["attempt:v 1|ack:w 1", "attempt:v 1|ack 1", "attempt 1|fail:v 1"])
def test_an_end_belongs_to_its_writer(journal: str) -> None:
    """An acknowledgement by another writer than the one that attempted is the workload's mistake."""
    promises = Promises.parse(journal.replace("|", "\n").encode() + b"\n")
    with pytest.raises(UsageError, match="without attempting it, or twice; fix the workload"):
        ExactlyOnce().judge(promises, [1])
    violation = judge_safely(ExactlyOnce(), promises, [1])
    assert violation is not None
    assert violation.verdict == "unknown"


@pytest.mark.parametrize(
    ("recovered", "verdict"), [([2], None), ([3], None), ([1], "loses"), ([4], "loses"), ([], "loses"), ([2, 3], "loses")]
)  # fmt: skip
def test_documented_contract(recovered: list[int], verdict: str | None) -> None:
    """The contract of one's own in the documentation runs as it stands there, as that of a target."""
    text = (ROOT / "docs" / "contracts.md").read_text()
    (program,) = re.findall(r"```python\n(from crashmatrix import Contract.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # our own documentation
    contract = contract_named(names["Numbers"].contract)
    promises = Promises.parse(b"attempt 2\nack 2\nattempt 3\n", [1])
    found = judge_safely(contract, promises, recovered)
    assert (found and found.verdict) == verdict, found


LOSES, CORRUPT = Violation(Verdict.LOSES, "gone"), Violation(Verdict.CORRUPT, "other bytes")


class OfAUser(Contract):
    """Returns what it is given, or raises it; changes the items."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        recovered[0].append("changed")
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome  # type: ignore[return-value]  # of anything, which is the matter here


@pytest.mark.parametrize(
    ("outcome", "verdict", "explanation"),
    [
        ([], None, ""),
        ([LOSES, CORRUPT], Verdict.CORRUPT, ""),
        (iter([CORRUPT]), Verdict.CORRUPT, "other bytes"),
        (None, Verdict.UNKNOWN, "must return a list of Violation, not a NoneType"),
        ([LOSES, "no"], Verdict.UNKNOWN, "and one is a str"),
        ([Violation(Verdict.SAFE, "all is well")], Verdict.UNKNOWN, ""),
        (UsageError("no sense"), Verdict.UNKNOWN, "no sense"),
        (ValueError("bad"), Verdict.UNKNOWN, "the contract's check raised ValueError: bad"),
        (SystemExit("over"), Verdict.UNKNOWN, "the contract's check raised SystemExit: over"),
    ],
)
def test_a_contract_of_a_user(outcome: object, verdict: Verdict | None, explanation: str) -> None:
    """The worst violation counts; a check that cannot be made is unknown, never safe. The items stay as they are."""
    items: list[Item] = [["a"]]
    found = judge_safely(OfAUser(outcome), Promises((), ()), items)
    assert (found and found.verdict) == verdict and explanation in (found.explanation if found else "")
    assert items == [["a"]]


def test_an_interrupt_is_no_verdict() -> None:
    """The person who stops the run stops it."""
    with pytest.raises(KeyboardInterrupt):
        judge_safely(OfAUser(KeyboardInterrupt()), Promises((), ()), [["a"]])


@pytest.mark.parametrize(
    ("again", "lasts"),
    [([0, 1, 1], True), ([1, 0, 1], True), ([0, 1], False), ([0, 1, 1, 1], False), ([0, 1, 2], False), ([], False)],
)
def test_what_lasts(again: list[Item], lasts: bool) -> None:
    """A second recovery returns the same items as the first, in any order, as often."""
    assert ExactlyOnce().lasts([0, 1, 1], again) is lasts
