"""Recoveries that are recorded to be crashed differ in what they change, as far as there are any that do."""

from __future__ import annotations

from collections import Counter

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.power.to_recover import Kind, state_to_recover
from crashmatrix.scenarios.recorded.state_verdict import Judged


def judged(state: str, changed: str, events: int = 0, *, recovered: str = "f", differs: bool = True) -> Judged:
    return Judged(state, Verdict.SAFE, events=events, differs=differs, recovered=recovered, kind=("", changed))


def chosen(states: list[Judged], times: int, seed: int = 0) -> list[str]:
    count = Counter[Kind]()
    return [state_to_recover(states, count, f"{seed} {number}") for number in range(times)]


def test_each_kind_once() -> None:
    """A rare kind of recovery is chosen before a frequent one is chosen twice, with every seed."""
    often = [judged(f"{number}-all", "journal") for number in range(50)]
    rare = [judged("60-none", "journal and data"), judged("61-all-t0.2+6", "journal and data"), judged("62-3", "data")]
    for seed in range(9):
        first = chosen([*often, *rare, judged("63-all", "")], 4, seed)
        assert {each.state for each in rare} < {*first}
        assert "63-all" not in first


def test_the_richer_half() -> None:
    """Those with much to lose are taken, even if recovery changed nothing there."""
    for changed in ("journal", ""):
        states = [judged(f"{number}-all", changed, events=number) for number in range(8)]
        assert {*chosen(states, 60)} == {"4-all", "5-all", "6-all", "7-all"}
    assert chosen([*states, judged("9-all", "journal", events=0)], 1) != ["9-all"]


def test_none() -> None:
    """A broken state is not recovered, nor one that is as the orderly end left it."""
    assert chosen([judged("1-all", "x", recovered=""), judged("2-all", "x", differs=False)], 1) == [""]
