"""The contract of calls that overlap: any order that the events allow, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.systems.reference.overlapping.contract import OverlapContract
from crashmatrix.scenarios.target.journal import Promises, item_key


def events(*lines: tuple[str, Any]) -> Promises:
    return Promises.parse("".join(f"{kind} {item_key(item)}\n" for kind, item in lines).encode())


def done(*items: Any) -> list[tuple[str, Any]]:
    return [(kind, item) for item in items for kind in ("attempt", "ack")]


def at_once(*items: Any) -> list[tuple[str, Any]]:
    return [*(("attempt", item) for item in items), *(("ack", item) for item in items)]


NEW, ZERO, ONE = ["create", 9], ["ingest", 0], ["ingest", 1]
TRUNCATE, DROP, TRANSFER, READ = ["truncate", 5], ["drop", 6], ["transfer", 7], ["read", 8]
BASE = done(NEW, ZERO)
FITS: dict[str, tuple[list[tuple[str, Any]], list[tuple[list[int] | None, list[int]]]]] = {
    "in turn": (done(NEW, ZERO, ONE), [([0, 1], [])]),
    "in flight": ([*BASE, ("attempt", ONE)], [([0], []), ([0, 1], [])]),
    "at once": ([*BASE, *at_once(ONE, TRUNCATE)], [([], []), ([1], [])]),
    "truncated first": (done(NEW, ZERO, TRUNCATE, ONE), [([1], [])]),
    "moved in part": ([*BASE, *at_once(ONE, TRANSFER)], [([0, 1], []), ([1], [0]), ([0], [1]), ([], [0, 1])]),
    "dropped": ([*BASE, *at_once(ONE, DROP)], [(None, [])]),
    "moved, then dropped": (done(NEW, ZERO, TRANSFER, DROP), [(None, []), (None, [0])]),
    "settled": ([*BASE, ("attempt", TRUNCATE), ("attempt", ["settled", [0], []]), *done(ONE)], [([0, 1], [])]),
}
ANYTHING: list[tuple[list[int] | None, list[int]]] = [
    *((table, moved) for table in (None, [], [0], [1], [0, 1]) for moved in ([], [0], [1], [0, 1])),
    ([0, 0], []), ([0], [0]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "allowed"), FITS.values(), ids=FITS)
def test_what_may_be_there(lines: list[tuple[str, Any]], allowed: list[Any]) -> None:
    """A recovery is right exactly if some order of the calls leads to it."""
    found = [one for one in ANYTHING if not OverlapContract().check(events(*lines), [["found", *one]])]
    assert sorted(map(repr, found)) == sorted(map(repr, allowed))


@pytest.mark.parametrize(
    ("lines", "saw", "right"),
    [
        ([*BASE, ("attempt", READ)], [0], True),
        ([*BASE, ("attempt", READ)], [], False),
        ([*BASE, ("attempt", READ)], [0, 0], False),
        ([*BASE, ("attempt", READ), *done(ONE)], [0], True),
        ([*BASE, ("attempt", READ), *done(ONE)], [0, 1], True),
        ([*BASE, ("attempt", READ), *done(ONE)], [1], False),
        ([*BASE, *done(ONE), ("attempt", READ)], [0], False),
        ([*BASE, ("attempt", TRUNCATE), ("attempt", READ)], [], True),
    ],
)
def test_what_a_read_may_see(lines: list[tuple[str, Any]], saw: list[int], right: bool) -> None:
    """A read returns what was there at one moment while it ran, each batch once."""
    violations = OverlapContract().check(events(*lines, ("attempt", ["saw", 8, saw])), [["found", [0, 1], []]])
    assert bool([one for one in violations if one.living]) != right


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(([], []), "loses"), (([0, 0], []), "duplicate"), (([0, 7], []), "phantom"), ((None, []), "loses")],
)
def test_verdicts(found: tuple[Any, Any], verdict: str) -> None:
    """The verdict says what is wrong with it."""
    (violation,) = OverlapContract().check(events(*BASE), [["found", *found]])
    assert violation.verdict is Verdict(verdict)


def test_no_order_leads_there() -> None:
    """A reading with no call under way is judged as well, and shows without a crash."""
    (violation,) = OverlapContract().check(events(*BASE, ("attempt", ["settled", [], []])), [["found", [], []]])
    assert violation.living and "no order of the calls leads" in violation.explanation
