"""Which crash points a process knows of."""

from __future__ import annotations

from crashmatrix.scenarios.judging.declared import declared_here, declared_outside, entered_here
from tests.scenarios.toy_systems import Store


class Unreaching(Store):
    """Says that it never reaches one of its failpoints."""

    unreached = ("toy.put.between",)


class Outside(Store):
    """Runs a program that has a failpoint."""

    def failpoints_outside(self) -> list[str]:
        return ["before_rename"]


def test_own_failpoints() -> None:
    """Failpoints that the system says it never reaches are left out; others have a description and a place."""
    declared = declared_here(Unreaching())
    assert "toy.put.between_halves" not in declared
    assert declared["toy.put.before_write"][0] == "nothing is written"
    assert "toy_systems.py:" in declared["toy.put.before_write"][1]
    assert all(isinstance(count, int) for count in entered_here(Unreaching()).values())


def test_crash_points_of_a_watched_run() -> None:
    """Calls that were hit, failpoints of programs, and those of Python, but for the journal's, whose lines are hits."""
    own = {"journal.after_ack": ("", ""), "mine": ("text", "here.py:1")}
    declared = declared_outside(Outside(), [("call.write", 1), ("mine", 1)], own)
    assert list(declared) == ["call.write", "before_rename", "mine"]
    assert declared["mine"] == ("text", "here.py:1")
