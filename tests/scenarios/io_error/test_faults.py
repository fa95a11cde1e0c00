"""Faults of both sources: one text each, and the action of a failpoint."""

import pytest

from crashmatrix import faults as failpoints
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.faults import PointFault, parse_fault
from crashmatrix.scenarios.processes.calls.call_faults import CallFault

FAULTS = [
    (CallFault("write", 3, "EIO"), "write@3~EIO~once"),
    (CallFault("write", 3, "short+ENOSPC", "until-freed"), "write@3~short+ENOSPC~until-freed"),
    (PointFault("store.put", 1, "EIO"), "store.put@1~raise(EIO)~once"),
    (PointFault("a@1~b", 12, "ENOSPC", "on"), "a@1~b@12~raise(ENOSPC)~on"),
]


@pytest.mark.parametrize(("fault", "text"), FAULTS)
def test_a_fault_prints_as_it_is_parsed(fault: CallFault | PointFault, text: str) -> None:
    """Each fault has one text."""
    assert str(fault) == text
    assert (fault.kind.startswith("failpoint ")) == isinstance(fault, PointFault)
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text", ["", "a@1~raise(E)~once", "a@0~raise(EIO)~once", "a@1~raise(EIO)~twice", "a~raise(EIO)~on"]
)
def test_other_texts_are_refused(text: str) -> None:
    """The refusal says how a fault is written."""
    with pytest.raises(UsageError, match="is not a fault"):
        parse_fault(text)


@pytest.mark.parametrize(
    ("fault", "raises"),
    [
        (PointFault("errors.point", 1, "EIO"), "x..."),
        (PointFault("errors.point", 3, "EIO"), "..x."),
        (PointFault("errors.point", 2, "EIO", "on"), ".xxx"),
    ],
)
def test_the_action_raises_at_its_hits(fault: PointFault, raises: str) -> None:
    """The failpoint raises at the hit named, and at no other, or at all later ones."""
    point = failpoints.declare("errors.point", "for this test")
    failpoints.configure(point.name, fault.actions)
    seen = ""
    for _ in raises:
        try:
            point.hit()
            seen += "."
        except OSError:
            seen += "x"
    failpoints.remove(point.name)
    assert seen == raises
