"""Verdicts: how they add up, what a run exits with, and that each is documented."""

import itertools

import pytest

from crashmatrix.reports.verdict import Verdict, worst
from tests import ROOT

SAFE, UNKNOWN, LOSES, CORRUPT = Verdict.SAFE, Verdict.UNKNOWN, Verdict.LOSES, Verdict.CORRUPT
BROKEN = [
    Verdict(word) for word in ["hangs", "reordered", "phantom", "duplicate", "hole", "loses", "cannot-open", "corrupt"]
]
"""The broken promises, the least bad first."""


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], UNKNOWN),
        ([SAFE], SAFE),
        ([SAFE, SAFE], SAFE),
        ([SAFE, UNKNOWN], UNKNOWN),
        *[([SAFE, UNKNOWN, verdict], verdict) for verdict in BROKEN],
        ([Verdict.HANGS, Verdict.HOLE, LOSES], LOSES),
        ([CORRUPT, LOSES, Verdict.CANNOT_OPEN], CORRUPT),
    ],
)
def test_worst(verdicts: list[Verdict], expected: Verdict) -> None:
    """Any broken promise beats unknown, unknown beats safe, and nothing at all is unknown, in whatever order they come."""
    assert {worst(order) for order in itertools.permutations(verdicts)} == {expected}


@pytest.mark.parametrize("verdict", Verdict)
def test_exit_status(verdict: Verdict) -> None:
    """A run exits with 0 when safe and never else, with 1 when a promise was broken, with 3 when nothing is known."""
    assert verdict.exit_status == (1 if verdict in BROKEN else 0 if verdict is SAFE else 3)
    assert verdict.broken == (verdict in BROKEN)


def test_order_of_verdicts() -> None:
    """The order from best to worst: safe, verdicts that say nothing, broken promises."""
    assert next(iter(Verdict)) is SAFE
    assert list(Verdict)[-len(BROKEN) - 1 :] == [UNKNOWN, *BROKEN]


DOCUMENTED = (ROOT / "docs" / "results.md").read_text()


@pytest.mark.parametrize("verdict", Verdict)
def test_documented_verdicts(verdict: Verdict) -> None:
    """The documentation names every verdict, and each has its sentence."""
    assert f"`{verdict}`" in DOCUMENTED
    assert verdict.meaning.endswith(".")
