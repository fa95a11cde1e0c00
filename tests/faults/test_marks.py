"""Marks count; each has one declaration."""

from __future__ import annotations

import pytest

from crashmatrix import faults


def test_a_mark_counts() -> None:
    """Entered never, once, twice; listed by name."""
    found = faults.mark("tests.marks.counted", "a branch")
    assert faults.entered()["tests.marks.counted"] == 0
    found.enter()
    found.enter()
    assert faults.entered()["tests.marks.counted"] == found.count == 2


def test_uncounted() -> None:
    """A mark entered in the block has the count of before; so has one declared there, if the block fails."""
    found = faults.mark("tests.marks.uncounted", "a branch")
    found.enter()
    with pytest.raises(ZeroDivisionError), faults.uncounted():
        found.enter()
        late = faults.mark("tests.marks.late", "another")
        late.enter()
        raise ZeroDivisionError
    assert (found.count, late.count) == (1, 0)


def test_one_declaration() -> None:
    """A name stands for one branch."""
    faults.mark("tests.marks.once", "a branch")
    with pytest.raises(faults.AlreadyDeclared, match=r"tests\.marks\.once"):
        faults.mark("tests.marks.once", "another")
